"""Who calls: a JWT in the Authorization header, verified once and then remembered until it expires."""

import time
from collections.abc import Iterable
from pathlib import Path

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from redpacket.money import Owner
from redpacket.settings import Settings, SettingsError
from service.problems import Code, ProblemError

# A verification costs 130 us, a look-up less than one. An entry takes about 1 KB.
_REMEMBERED_MAX = 20_000
_ALGORITHMS = ["EdDSA"]
# By so much an issuer's clock may differ from this one's, at either end of a token's time.
LEEWAY_S = 30
_OPTIONS = {
    "require": ["iss", "aud", "exp", "sub"],
    # RFC 7519 gives nobody a reason to refuse by `iat`, and clocks may differ.
    "verify_iat": False,
}

RawHeaders = Iterable[tuple[bytes, bytes]]


class Caller(Struct, frozen=True):
    """`taken_until_s`: seconds since 1970, the token's `exp` and the leeway."""

    owner: str
    operator: bool
    taken_until_s: int


class Authenticator:
    """Verifies by one public key, given at the start: whatever key or algorithm a token names is ignored."""

    def __init__(self, settings: Settings, key: Ed25519PublicKey) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._key = key
        # By the whole header, signature included.
        self._remembered: dict[bytes, Caller] = {}

    def remembered_caller(self, headers: RawHeaders) -> Caller | None:
        """The caller where his token was verified before and has not expired: what a hot path can afford."""
        caller = self._remembered.get(_authorization(headers) or b"")
        return caller if caller is not None and caller.taken_until_s > time.time() else None

    def caller_of(self, headers: RawHeaders) -> Caller:
        """Raises ProblemError `unauthenticated`."""
        authorization = _authorization(headers)
        if authorization is None:
            raise _unauthenticated("One Authorization header is required: Bearer and a token.")
        caller = self._remembered.get(authorization)
        if caller is None:
            caller = self._verify(authorization)
            if len(self._remembered) >= _REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[authorization] = caller
        if caller.taken_until_s <= time.time():
            del self._remembered[authorization]
            raise _unauthenticated("The token has expired.")
        return caller

    def _verify(self, authorization: bytes) -> Caller:
        scheme, _, token = authorization.partition(b" ")
        # One spelling of each token: else one that is good could fill the memory of all, with spaces.
        if scheme.lower() != b"bearer" or token != token.strip():
            raise _unauthenticated("The Authorization header must be Bearer, a space, and a token.")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options=_OPTIONS,  # type: ignore[arg-type]
            )
            owner = msgspec.convert(claims["sub"], Owner)
            scope = msgspec.convert(claims.get("scope", ""), str)
            taken_until_s = int(claims["exp"]) + LEEWAY_S
        # A header that is JSON nested too deep is a RecursionError, one that is no text a ValueError.
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, OverflowError, RecursionError) as error:
            raise _unauthenticated(_why_refused(error)) from None
        return Caller(owner, "operator" in scope.split(" "), taken_until_s)


def read_public_key(settings: Settings) -> Ed25519PublicKey:
    """The key that tokens are verified by. Raises SettingsError."""
    path = Path(settings.keys_dir) / "jwt_public.pem"
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"settings: the key {path} cannot be read: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"settings: the key {path} is not an Ed25519 public key")
    return key


def _why_refused(error: Exception) -> str:
    """For a client's developer. What a token says is told only of one that has this service's signature."""
    match error:
        case jwt.ExpiredSignatureError():
            return "The token has expired: get a new one."
        case jwt.ImmatureSignatureError():
            return "The token is not valid yet: see its `nbf`."
        case jwt.MissingRequiredClaimError(claim=claim):
            return f"The token lacks `{claim}`."
        case jwt.InvalidAudienceError() | jwt.InvalidIssuerError():
            return "The token is for another service: see its `aud` and `iss`."
        case msgspec.ValidationError():
            return "The token's `sub` must be an owner (1-64 of A-Z a-z 0-9 . _ : -), and its `scope` a text."
        case _:
            return "The token is not one of this service's: it must be a JWT that its issuer has signed by EdDSA."


def _authorization(headers: RawHeaders) -> bytes | None:
    """The value of the Authorization header where there is exactly one."""
    found = [value for name, value in headers if name == b"authorization"]
    return found[0] if len(found) == 1 else None


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(Code.UNAUTHENTICATED, detail, {"www-authenticate": "Bearer"})
