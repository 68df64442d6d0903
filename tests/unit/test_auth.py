"""Who may call: every token that is not exactly one of this service's is refused, remembered or not."""

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from redpacket.settings import Settings, SettingsError
from service import auth
from service.auth import LEEWAY_S, Authenticator, read_public_key
from service.problems import ProblemError
from tests.tokens import NAMED_KEYS, token, wrong_authorizations

KEY = Ed25519PrivateKey.generate()
WRONG = wrong_authorizations(KEY)
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def settings(keys_dir: Path) -> Settings:
    return Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir=str(keys_dir))


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    return Authenticator(settings(tmp_path), KEY.public_key())


def bearer(value: str | bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + (value.encode() if isinstance(value, str) else value))]


def refused(authenticator: Authenticator, headers: list[tuple[bytes, bytes]]) -> bool:
    with pytest.raises(ProblemError) as caught:
        authenticator.caller_of(headers)
    assert authenticator.remembered_caller(headers) is None
    return caught.value.code.code == "unauthenticated"


def test_a_good_token_names_its_owner(authenticator: Authenticator) -> None:
    caller = authenticator.caller_of(bearer(token(KEY)))
    assert (caller.owner, caller.operator) == ("alice", False)


@pytest.mark.parametrize("scope", ["operator", "read operator write"])
def test_the_scope_makes_an_operator(authenticator: Authenticator, scope: str) -> None:
    assert authenticator.caller_of(bearer(token(KEY, scope=scope))).operator


@pytest.mark.parametrize("scope", ["", "operators", "Operator", "operator,read", "read"])
def test_another_scope_does_not(authenticator: Authenticator, scope: str) -> None:
    assert not authenticator.caller_of(bearer(token(KEY, scope=scope))).operator


@pytest.mark.parametrize("scheme", [b"bearer", b"BEARER"])
def test_the_scheme_is_bearer_in_any_case(authenticator: Authenticator, scheme: bytes) -> None:
    assert authenticator.caller_of([(b"authorization", scheme + b" " + token(KEY).encode())]).owner == "alice"


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_just_one_token_of_this_service_is_refused(authenticator: Authenticator, wrong: str) -> None:
    assert refused(authenticator, [(b"authorization", value) for value in WRONG[wrong]])


def _from_now(claim: dict[str, int]) -> dict[str, Any]:
    return {name: int(time.time()) + offset_s for name, offset_s in claim.items()}


@pytest.mark.parametrize("claim", [{"nbf": 20}, {"exp": -20}, {"iat": 60}])
def test_an_issuers_clock_may_differ_by_half_a_minute(authenticator: Authenticator, claim: dict[str, int]) -> None:
    headers = bearer(token(KEY, **_from_now(claim)))
    assert authenticator.caller_of(headers).owner == "alice"
    assert authenticator.remembered_caller(headers) is not None


@pytest.mark.parametrize("claim", [{"nbf": 60}, {"exp": -31}])
def test_an_issuers_clock_may_not_differ_by_more(authenticator: Authenticator, claim: dict[str, int]) -> None:
    assert refused(authenticator, bearer(token(KEY, **_from_now(claim))))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("expired", "expired"),
        ("not yet valid", "nbf"),
        ("no owner", "sub"),
        ("no expiry", "exp"),
        ("another audience", "aud"),
        ("another issuer", "iss"),
        ("a system account", "sub"),
        ("another key", "signed"),
        ("no signature", "signed"),
        ("no scheme", "Bearer"),
        ("two headers", "One Authorization header"),
    ],
)
def test_what_is_wrong_with_a_token_is_told(authenticator: Authenticator, wrong: str, told: str) -> None:
    with pytest.raises(ProblemError) as caught:
        authenticator.caller_of([(b"authorization", value) for value in WRONG[wrong]])
    assert told in caught.value.detail


def test_keys_that_a_token_names_are_not_looked_at(authenticator: Authenticator) -> None:
    assert authenticator.caller_of(bearer(token(KEY, headers=NAMED_KEYS))).owner == "alice"


def test_a_token_changed_in_any_character_is_refused(authenticator: Authenticator) -> None:
    good = token(KEY)
    authenticator.caller_of(bearer(good))
    for at in range(0, len(good) - 1, 7):
        # The lowest bits of a part's last character carry nothing, so another character may decode to the same.
        changed = good[:at] + ("A" if good[at] != "A" else "Q") + good[at + 1 :]
        assert refused(authenticator, bearer(changed)), changed


def test_a_remembered_token_ends_when_it_expires(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    expires_at_s = int(time.time()) + 60
    headers = bearer(token(KEY, exp=expires_at_s))
    assert authenticator.remembered_caller(headers) is None
    caller = authenticator.caller_of(headers)
    assert caller.taken_until_s == expires_at_s + LEEWAY_S
    assert authenticator.remembered_caller(headers) == caller
    monkeypatch.setattr("service.auth.time.time", lambda: caller.taken_until_s)
    assert authenticator.remembered_caller(headers) is None
    assert refused(authenticator, headers)


def test_no_more_than_so_many_are_remembered(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_REMEMBERED_MAX", 3)
    all_headers = [bearer(token(KEY, sub=f"p{n}")) for n in range(5)]
    for headers in all_headers:
        authenticator.caller_of(headers)
    known = [authenticator.remembered_caller(headers) is not None for headers in all_headers]
    assert known == [False, False, True, True, True]


def test_the_key_must_be_the_one_kind_that_is_used(tmp_path: Path) -> None:
    path = tmp_path / "jwt_public.pem"
    with pytest.raises(SettingsError, match="cannot be read"):
        read_public_key(settings(tmp_path))
    path.write_bytes(b"nonsense")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_public_key(settings(tmp_path))
    rsa = generate_private_key(65537, 2048).public_key()
    path.write_bytes(rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SettingsError, match="Ed25519"):
        read_public_key(settings(tmp_path))
    path.write_bytes(PUBLIC_PEM)
    assert read_public_key(settings(tmp_path)) == KEY.public_key()


@pytest.mark.parametrize("padding", [" ", "  ", "\t"])
def test_a_token_has_one_spelling(authenticator: Authenticator, padding: str) -> None:
    good = token(KEY)
    assert authenticator.caller_of(bearer(good)).owner
    assert refused(authenticator, bearer(padding + good))
