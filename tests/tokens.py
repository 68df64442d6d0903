"""Tokens, good ones and all kinds that are not this service's."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OTHER_KEY = Ed25519PrivateKey.generate()
_RSA_KEY = generate_private_key(65537, 2048)

# What no token may say; None takes a claim out.
_WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "no issuer": {"iss": None},
    "another issuer": {"iss": "another"},
    "no audience": {"aud": None},
    "another audience": {"aud": "another"},
    "no expiry": {"exp": None},
    "expired": {"exp": 1},
    "an expiry that is no time": {"exp": "soon"},
    "an expiry beyond all numbers": {"exp": float("inf")},
    "not yet valid": {"nbf": 99_999_999_999},
    "no owner": {"sub": None},
    "an empty owner": {"sub": ""},
    "a system account": {"sub": "@funding"},
    "an owner with a space": {"sub": "a b"},
    "an owner with a line end": {"sub": "alice\n"},
    "an owner with NUL": {"sub": "a\0"},
    "an owner in other letters": {"sub": "ü"},
    "an owner that is too long": {"sub": "x" * 65},
    "an owner that is no text": {"sub": 7},
    "a scope that is a list": {"scope": ["operator"]},
    "a scope that is a number": {"scope": 1},
}
# Keys that a token names are nobody's but its own.
NAMED_KEYS = {"kid": "other", "jku": "http://127.0.0.1:1/keys", "jwk": {"kty": "OKP"}, "x5u": "http://127.0.0.1:1/"}
_NO_TOKENS = {
    "nothing": b"",
    "dots": b"..",
    "letters": b"a.b.c",
    "no UTF-8": b"\xff\xfe.\xff.\xff",
    "a header of lists": base64.urlsafe_b64encode(b"[" * 9_000) + b".e30.e30",
    "a header that is nested deep": base64.urlsafe_b64encode(b'{"alg":' * 1_500) + b".e30.e30",
    "a header with a critical extension": base64.urlsafe_b64encode(b'{"alg":"EdDSA","crit":["x"]}') + b".e30.e30",
    "a header that is no text": base64.urlsafe_b64encode(b"\xff\xff") + b".e30.e30",
    "too much": b"x" * 15_000,
}


def claims(**changed: Any) -> dict[str, Any]:
    """A good token's; None takes one out."""
    good = {"iss": "redpacket", "aud": "redpacket", "sub": "alice", "exp": int(time.time()) + 600}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(key: Any, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def wrong_authorizations(key: Ed25519PrivateKey, **good: Any) -> dict[str, list[bytes]]:
    """By what is wrong: the Authorization headers of one request. `good`: claims of a caller who would be let in."""
    right = b"Bearer " + token(key, **good).encode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    tokens = {what: token(key, **(good | wrong)).encode() for what, wrong in _WRONG_CLAIMS.items()}
    tokens |= {
        "another key": token(OTHER_KEY, **good).encode(),
        "another key that it names": token(OTHER_KEY, headers=NAMED_KEYS, **good).encode(),
        "another algorithm": token(_RSA_KEY, "RS256", **good).encode(),
        "no signature": _signed({"alg": "none"}, b"", good),
        "the public key as a secret": _signed({"alg": "HS256"}, public, good),
        **_NO_TOKENS,
    }
    return {what: [(b"Bearer " + value).rstrip()] for what, value in tokens.items()} | {
        "no header": [],
        "an empty header": [b""],
        "no scheme": [right.removeprefix(b"Bearer ")],
        "another scheme": [b"Basic Ym9iOmJvYg=="],
        "a good token under another scheme": [right.replace(b"Bearer", b"DPoP")],
        "two headers": [right, right],
        "two tokens in one header": [right + b", " + right],
    }


def _signed(header: dict[str, str], secret: bytes, good: dict[str, Any]) -> bytes:
    """What a library that can be talked into another algorithm would take."""
    parts = (json.dumps(header), json.dumps(claims(**good)))
    signed = b".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, signed, hashlib.sha256) if secret else b""
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
