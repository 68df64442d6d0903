"""Keys for a stack on one machine, made at its first start."""

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from redpacket.stack.error import StackError
from redpacket.stack.files import write_new

KEY_BYTES = 32
MODE = 0o600


def ensure_keys(keys_dir: Path) -> None:
    """Make the keys missing in `keys_dir`; one that is there is never changed. Raises OSError and StackError."""
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("id.key", "split.key"):
        write_new(keys_dir / name, f"{secrets.token_hex(KEY_BYTES)}\n".encode(), MODE)
    private_path, public_path = keys_dir / "jwt_private.pem", keys_dir / "jwt_public.pem"
    if public_path.exists():  # alone it is somebody's choice: who checks tokens need not be able to issue them
        return
    made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(private_path, made, MODE)
    # From the file: the private key may have been there, without the public one, when a first start was cut.
    write_new(public_path, _public_pem(private_path), MODE)


def _public_pem(private_path: Path) -> bytes:
    try:
        private = load_pem_private_key(private_path.read_bytes(), password=None)
    except ValueError as error:
        raise StackError(f"the key {private_path} cannot be read: {error}") from None
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
