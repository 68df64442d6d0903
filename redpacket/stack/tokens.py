"""Tokens for the local stack, signed with its development key. A real deployment has an issuer of its own."""

import time
from collections.abc import Callable
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from redpacket.settings import Settings
from redpacket.stack.error import StackError


def issue_token(settings: Settings, owner: str, scope: str = "", lifetime_s: int = 86_400) -> str:
    """A JWT for `owner`, signed by EdDSA. Raises StackError where the key cannot be read."""
    return token_issuer(settings, lifetime_s)(owner, scope)


def token_issuer(settings: Settings, lifetime_s: int = 86_400) -> Callable[[str, str], str]:
    """Issues a token for each (owner, scope) with a key that is read once. Raises StackError where it cannot be."""
    path = Path(settings.keys_dir) / "jwt_private.pem"
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise StackError(f"the key that signs tokens cannot be read: {path}: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise StackError(f"the key that signs tokens is no Ed25519 key: {path}")

    def issue(owner: str, scope: str) -> str:
        now_s = int(time.time())
        claims = {
            "iss": settings.jwt_issuer,
            "aud": settings.jwt_audience,
            "sub": owner,
            "iat": now_s,
            "exp": now_s + lifetime_s,
        }
        return jwt.encode(claims | ({"scope": scope} if scope else {}), key, algorithm="EdDSA")

    return issue
