"""Tokens for the local stack, signed with its development key. A real deployment has an issuer of its own."""

import time
from pathlib import Path

import jwt

from redpacket.settings import Settings
from redpacket.stack.error import StackError


def issue_token(settings: Settings, owner: str, scope: str = "", lifetime_s: int = 86_400) -> str:
    """A JWT for `owner`, signed by EdDSA. Raises StackError where the key cannot be read."""
    path = Path(settings.keys_dir) / "jwt_private.pem"
    try:
        key = path.read_text()
    except OSError as error:
        raise StackError(f"the key that signs tokens cannot be read: {error}") from None
    now_s = int(time.time())
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": owner,
        "iat": now_s,
        "exp": now_s + lifetime_s,
    }
    return jwt.encode(claims | ({"scope": scope} if scope else {}), key, algorithm="EdDSA")
