"""Who may call: every token that is not exactly one of this service's is refused, remembered or not."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from redpacket.settings import Settings, SettingsError
from service import auth
from service.auth import Authenticator, read_public_key
from service.problems import ProblemError

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def settings(keys_dir: Path) -> Settings:
    return Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir=str(keys_dir))


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    return Authenticator(settings(tmp_path), KEY.public_key())


def claims(**changed: Any) -> dict[str, Any]:
    """A good token's; None takes one out."""
    good = {"iss": "redpacket", "aud": "redpacket", "sub": "alice", "exp": int(time.time()) + 60}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(key: Any = KEY, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def bearer(value: str | bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + (value.encode() if isinstance(value, str) else value))]


def refused(authenticator: Authenticator, headers: list[tuple[bytes, bytes]]) -> bool:
    with pytest.raises(ProblemError) as caught:
        authenticator.caller_of(headers)
    assert authenticator.remembered_caller(headers) is None
    return caught.value.code.code == "unauthenticated"


def test_a_good_token_names_its_owner(authenticator: Authenticator) -> None:
    caller = authenticator.caller_of(bearer(token()))
    assert (caller.owner, caller.operator) == ("alice", False)


@pytest.mark.parametrize("scope", ["operator", "read operator write"])
def test_the_scope_makes_an_operator(authenticator: Authenticator, scope: str) -> None:
    assert authenticator.caller_of(bearer(token(scope=scope))).operator


@pytest.mark.parametrize("scope", ["", "operators", "Operator", "operator,read", "read"])
def test_another_scope_does_not(authenticator: Authenticator, scope: str) -> None:
    assert not authenticator.caller_of(bearer(token(scope=scope))).operator


@pytest.mark.parametrize("scheme", [b"bearer", b"BEARER"])
def test_the_scheme_is_bearer_in_any_case(authenticator: Authenticator, scheme: bytes) -> None:
    assert authenticator.caller_of([(b"authorization", scheme + b" " + token().encode())]).owner == "alice"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"iss": "another"},
        {"aud": None},
        {"aud": "another"},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"sub": None},
        {"sub": ""},
        {"sub": "@funding"},
        {"sub": "a b"},
        {"sub": "alice\n"},
        {"sub": "x" * 65},
        {"scope": ["operator"]},
        {"scope": 1},
        {"nbf": 99_999_999_999},
    ],
)
def test_a_token_with_other_claims_is_refused(authenticator: Authenticator, changed: dict[str, Any]) -> None:
    assert refused(authenticator, bearer(token(**changed)))


def test_a_token_from_a_clock_that_is_ahead_is_taken(authenticator: Authenticator) -> None:
    assert authenticator.caller_of(bearer(token(iat=int(time.time()) + 60))).owner == "alice"


def test_another_key_is_refused_whatever_the_token_says_of_keys(authenticator: Authenticator) -> None:
    named = {"kid": "other", "jku": "http://127.0.0.1:1/keys", "jwk": {"kty": "OKP"}, "x5u": "http://127.0.0.1:1/"}
    assert refused(authenticator, bearer(token(OTHER_KEY)))
    assert refused(authenticator, bearer(token(OTHER_KEY, headers=named)))
    assert authenticator.caller_of(bearer(token(KEY, headers=named))).owner == "alice"


def test_another_algorithm_is_refused(authenticator: Authenticator) -> None:
    rsa = generate_private_key(65537, 2048)
    assert refused(authenticator, bearer(token(rsa, "RS256")))
    assert refused(authenticator, bearer(_signed({"alg": "none"}, b"")))
    assert refused(authenticator, bearer(_signed({"alg": "HS256"}, PUBLIC_PEM)))


def _signed(header: dict[str, str], secret: bytes) -> bytes:
    """What a library that can be talked into another algorithm would take."""
    parts = (json.dumps(header), json.dumps(claims()))
    signed = b".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, signed, hashlib.sha256) if secret else b""
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def test_a_token_changed_in_any_character_is_refused(authenticator: Authenticator) -> None:
    good = token()
    authenticator.caller_of(bearer(good))
    for at in range(0, len(good) - 1, 7):
        # The lowest bits of a part's last character carry nothing, so another character may decode to the same.
        changed = good[:at] + ("A" if good[at] != "A" else "Q") + good[at + 1 :]
        assert refused(authenticator, bearer(changed)), changed


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b"..",
        b"a.b.c",
        b"\xff\xfe.\xff.\xff",
        base64.urlsafe_b64encode(b"[" * 9_000) + b".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":' * 1_500) + b".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":"EdDSA","crit":["x"]}') + b".e30.e30",
        base64.urlsafe_b64encode(b"\xff\xff") + b".e30.e30",
        b"x" * 16_000,
    ],
)
def test_what_is_no_token_at_all_is_refused(authenticator: Authenticator, value: bytes) -> None:
    assert refused(authenticator, bearer(value))


def test_none_or_two_headers_are_refused(authenticator: Authenticator) -> None:
    assert refused(authenticator, [])
    assert refused(authenticator, [(b"authorization", b"Basic YTpi")])
    assert refused(authenticator, bearer(token()) + bearer(token()))


def test_a_remembered_token_ends_when_it_expires(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = bearer(token(exp=int(time.time()) + 60))
    assert authenticator.remembered_caller(headers) is None
    caller = authenticator.caller_of(headers)
    assert authenticator.remembered_caller(headers) == caller
    monkeypatch.setattr("service.auth.time.time", lambda: caller.expires_at_s)
    assert authenticator.remembered_caller(headers) is None
    assert refused(authenticator, headers)


def test_no_more_than_so_many_are_remembered(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_REMEMBERED_MAX", 3)
    all_headers = [bearer(token(sub=f"p{n}")) for n in range(5)]
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
