"""The connection to Redis: the library of functions, one call of one function, and what its failures mean."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from redpacket.limits import REDIS_CONNECTIONS
from redpacket.settings import Settings
from redpacket.shard.clock import RedisClock

# In this order: a local function of one concern is used by those after it.
_CONCERNS = (
    *("fence", "outbox", "batch", "claim", "close", "operation", "reserve", "load", "read", "evict", "audit", "mark"),
)
_MARK = "redpacket:mark"
_POOL_WAIT_S = 0.05
# What Redis adds to an error that a function raised.
_IN_A_FUNCTION = "script:"

_SOURCE = "\n".join((files("redpacket.shard") / "lua" / f"{concern}.lua").read_text() for concern in _CONCERNS)
# The version is made from the text, so that two versions can never stand under one name.
VERSION = hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]
_LIBRARY = f"#!lua name=redpacket_{VERSION}\nlocal function NAME(name) return name .. '_{VERSION}' end\n{_SOURCE}"


class ShardClosedError(Exception):
    """The shard is not open on this Redis process, or only under an epoch that has passed: nothing was changed, or
    nothing that will ever count. It opens again by itself."""


class ShardUnreachableError(Exception):
    """Redis did not answer in time, or not at all. The outcome of a call that writes is unknown."""


class MemoryFullError(Exception):
    """Redis is over its maxmemory and refused the call before it did anything."""


class ShardClient:
    """One pool of connections to Redis for all shards of this process. Close it with `aclose`.

    Of each shard it knows the highest epoch that was ever open or fenced, as far as it was told, and believes none
    below: an older Redis may still run, open as it was left, and a name may lead back to it.
    """

    def __init__(self, settings: Settings) -> None:
        self.clock = RedisClock()
        self._epochs: dict[int, int] = {}
        self._timeout_s = settings.redis_timeout_ms / 1000
        # No retries underneath: one call here is one execution there, or an unknown outcome. And no socket_timeout: for
        # it redis-py sends in asyncio.wait_for, in which Python 3.11 loses a cancellation that comes as it ends.
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                settings.redis_url,
                max_connections=REDIS_CONNECTIONS,
                timeout=_POOL_WAIT_S,
                socket_timeout=None,
                socket_connect_timeout=self._timeout_s,
                retry=Retry(NoBackoff(), 0),
                # With them redis-py 8.1 does not look whether a connection from its pool is still one: each that died
                # with its Redis would cost somebody a request, minutes later maybe.
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
        )

    async def aclose(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def load_library(self) -> None:
        """Makes sure that this version's functions are there. Raises ShardUnreachableError."""
        async with self._asking("loading the functions"):
            try:
                await self._redis.function_load(_LIBRARY)
            except redis.exceptions.ResponseError as error:
                if "already exists" not in str(error):
                    raise

    async def memory_bytes(self) -> tuple[int, int]:
        """What the server has allocated, and its maxmemory, 0 where it has none. Raises ShardUnreachableError."""
        async with self._asking("asking for memory"):
            told = await self._redis.info("memory")
            return int(told["used_memory"]), int(told["maxmemory"])

    async def keeps_all(self) -> bool:
        """Whether the server never forgets a key by itself. Raises ShardUnreachableError."""
        async with self._asking("asking for its policy"):
            return bool((await self._redis.info("memory"))["maxmemory_policy"] == "noeviction")

    async def read_mark(self) -> bytes | None:
        """Raises ShardUnreachableError."""
        async with self._asking("reading its mark"):
            held = await self._redis.get(_MARK)
        return held.encode() if isinstance(held, str) else held

    async def mark(self, mark: bytes, *, over: bool) -> bytes:
        """The mark that is there now: `mark`, or the one that was there before, unless `over` and that one is of a
        lower generation. The functions must be there. Raises ShardUnreachableError."""
        async with self._asking("marking it"):
            held: bytes = await self._redis.fcall(f"mark_{VERSION}", 1, _MARK, mark, "1" if over else "")
        return held

    async def scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Some names of keys of all shards, and where to go on, 0 at the end. Raises ShardUnreachableError."""
        async with self._asking("looking through keys"):
            further, names = await self._redis.scan(cursor, count=count)
        # Somebody's foreign key must stop nobody from looking at ours.
        return int(further), [it.decode(errors="backslashreplace") if isinstance(it, bytes) else it for it in names]

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        """A request that is no function of a shard. Raises ShardUnreachableError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            raise ShardUnreachableError(f"{what}: {error!r}") from error

    def believe(self, shard: int, epoch: int) -> None:
        """`epoch` was open when an answer came, or the ledger has fenced it: no lower one is believed any more.

        Not for one that was merely taken, or under which Redis is closed: with a restored Postgres and a lost Redis
        such a number may be higher than any that is opened again. Raises ShardClosedError where a higher one is known.
        """
        known = self._epochs.get(shard, 0)
        if epoch < known:
            raise ShardClosedError(f"shard {shard}: epoch {epoch} has passed, {known} was opened since")
        self._epochs[shard] = epoch

    def learn(self, shard: int, epoch: int) -> None:
        """As `believe`, of a reading that may be older than what is known."""
        self._epochs[shard] = max(epoch, self._epochs.get(shard, 0))

    def least_epoch(self, shard: int) -> int:
        """The lowest that is believed; 0 where any is."""
        return self._epochs.get(shard, 0)

    def believes(self, shard: int, epoch: int) -> bool:
        return epoch >= self._epochs.get(shard, 0)

    async def call(self, function: str, shard: int, *args: bytes | str | int) -> Any:
        """One call of `function` for `shard`, which does nothing under an epoch that is not believed.

        Raises ShardClosedError, ShardUnreachableError or MemoryFullError; a ResponseError is a bug in the function.
        """
        least = self._epochs.get(shard, 0)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._redis.fcall(f"{function}_{VERSION}", 1, f"{{rp{shard}}}fence", *args, least)
        except redis.exceptions.OutOfMemoryError as error:
            raise MemoryFullError(f"shard {shard}: {error}") from error
        except redis.exceptions.ResponseError as error:
            # An empty Redis has no functions: that is a closed shard, not an error.
            if "Function not found" in str(error):
                await self.load_library()
                raise ShardClosedError(f"shard {shard}: the functions were missing") from error
            if _IN_A_FUNCTION in str(error):
                raise
            # READONLY, BUSY, MISCONF, MASTERDOWN and the like: the server is not one that serves now.
            raise ShardUnreachableError(f"shard {shard}: {function}: {error!r}") from error
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            raise ShardUnreachableError(f"shard {shard}: {function}: {error!r}") from error
        if answer == b"STALE":
            raise ShardClosedError(f"shard {shard} is closed")
        return answer
