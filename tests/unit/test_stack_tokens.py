"""Tokens of the local stack: a key that cannot sign them is said in a sentence."""

from pathlib import Path

import jwt
import pytest

from redpacket.settings import Settings
from redpacket.stack.error import StackError
from redpacket.stack.keys import ensure_keys
from redpacket.stack.tokens import token_issuer


def _settings(folder: Path) -> Settings:
    return Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir=str(folder))


def test_a_key_that_is_read_once_signs_for_everybody(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    issue = token_issuer(_settings(tmp_path))
    (tmp_path / "jwt_private.pem").unlink()
    public = (tmp_path / "jwt_public.pem").read_text()
    for owner, scope in (("alice", ""), ("boss", "operator")):
        told = jwt.decode(issue(owner, scope), public, algorithms=["EdDSA"], audience="redpacket")
        assert (told["sub"], told.get("scope", "")) == (owner, scope)


@pytest.mark.parametrize("damaged", [None, b"", b"nonsense", b"\xff" * 100])
def test_a_key_that_is_missing_or_damaged_is_a_sentence(tmp_path: Path, damaged: bytes | None) -> None:
    if damaged is not None:
        (tmp_path / "jwt_private.pem").write_bytes(damaged)
    with pytest.raises(StackError, match=r"the key that signs tokens cannot be read: .*jwt_private\.pem"):
        token_issuer(_settings(tmp_path))
