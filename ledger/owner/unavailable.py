"""What the owner's chores raise while a part is away, or a shard is closed: they are done again a little later."""

from ledger.owner.open import AbandonedError
from redpacket.books.database import POSTGRES_FAILURES, BooksUnavailableError
from redpacket.log.producer import LogUnavailableError
from redpacket.shard.client import MemoryFullError, ShardClosedError, ShardUnreachableError

UNAVAILABLE = (
    AbandonedError,
    BooksUnavailableError,
    LogUnavailableError,
    MemoryFullError,
    ShardClosedError,
    ShardUnreachableError,
    *POSTGRES_FAILURES,
)
