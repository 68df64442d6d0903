"""Who an owner's shard is, what an operation's identity is, and how an id is spelled."""

import hashlib
import hmac
import re
from datetime import UTC, date, datetime
from functools import lru_cache

from msgspec import Struct

_SPELLING = re.compile(r"([0-9a-f]{2})([0-9a-f]{4})([0-9a-f]{32})")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class OperationId(Struct, frozen=True):
    """shard: 0..255; day: days since 1970-01-01 UTC, 0..65535; identity: 32 hex digits.

    Its text is the one spelling that exists: ids are compared as text, in Redis, in Kafka and in Postgres.
    """

    shard: int
    day: int
    identity: str

    def __str__(self) -> str:
        return f"{self.shard:02x}{self.day:04x}{self.identity}"

    @property
    def date(self) -> date:
        return date.fromordinal(_EPOCH_ORDINAL + self.day)


@lru_cache(maxsize=4096)
def parse_id(text: str) -> OperationId | None:
    """The id that `text` spells, or None where it is not the canonical spelling of any."""
    spelled = _SPELLING.fullmatch(text)
    if spelled is None:
        return None
    return OperationId(int(spelled[1], 16), int(spelled[2], 16), spelled[3])


def shard_of(owner: str, shards: int) -> int:
    """The shard 0..shards-1 on which the owner's wallet and all that he starts live."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8]) % shards


def identity_of(id_key: bytes, owner: str, idempotency_key: str) -> str:
    """32 hex digits: HMAC-SHA256 of the owner and his key, each with its length before it, cut to 128 bits.

    There is no day in it, so that a repeat just after midnight finds the first attempt.
    """
    message = b"".join(len(part).to_bytes(2) + part for part in (owner.encode(), idempotency_key.encode()))
    return hmac.digest(id_key, message, "sha256")[:16].hex()


def posting_id(shard: int, kafka_offset: int, item: int) -> str:
    """How a posting is called outside: the place in the log of the item that made it, in 22 hex digits."""
    return f"{shard:02x}{kafka_offset:016x}{item:04x}"


def date_of(id: str) -> date:
    """The day of creation in a canonical id; raises ValueError for anything else."""
    known = parse_id(id)
    if known is None:
        raise ValueError(f"{id!r} is not an id")
    return known.date


def utc(at_ms: int) -> datetime:
    """The time that lies `at_ms` milliseconds after 1970-01-01 UTC."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)


def unix_ms(at: datetime) -> int:
    """Whole milliseconds from 1970-01-01 UTC to `at`; exact, unlike `timestamp()`, which is a float."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
