"""Opens a shard: the same for the first start, a lost Redis and one that was replaced.

A number gets one pass and each step is sent once: anything but a clear yes abandons it, and the next attempt begins
again with a number of its own.
"""

import asyncio
import secrets

import asyncpg

from redpacket.commit.place import why_not
from redpacket.log.producer import LogProducer
from redpacket.log.record import Fence
from redpacket.shard.client import ShardClient
from redpacket.shard.fence import bless_shard, close_shard, fence_state
from redpacket.shard.mark import Mark, leave_mark
from redpacket.sql import read_queries

_QUERIES = read_queries("ledger.owner")
_OPENING_TIMEOUT_S = 30.0
_LOOK_AGAIN_S = 0.02


class AbandonedError(Exception):
    """This attempt's number is spent; nothing was opened by it."""


class NotOursError(AbandonedError):
    """The Redis of this process is not the one on which the shard may be opened; the message says what to do."""


class Opener:
    """Opens shards that this worker settles, on the Redis that `mark` is of; it waits for its own settling to reach the
    Fence."""

    def __init__(self, pool: asyncpg.Pool, client: ShardClient, producer: LogProducer, mark: Mark) -> None:
        self._pool = pool
        self._client = client
        self._producer = producer
        self._mark = mark

    async def open(self, shard: int) -> int:
        """The epoch under which the shard is open now. Raises AbandonedError, or what the parts raise."""
        async with asyncio.timeout(_OPENING_TIMEOUT_S):
            await self._client.load_library()
            await self._leave_mark()
            epoch = await self._take_epoch(shard)
            # Closed before the Fence is written: nothing may be reserved under an older epoch and published behind it.
            nonce = secrets.token_hex(8)
            if not await close_shard(self._client, shard, epoch, nonce):
                raise AbandonedError(f"shard {shard}: Redis has seen an epoch as high as {epoch}")
            fence_offset = await self._producer.append(shard, Fence(epoch))
            await self._settled_up_to(shard, epoch, fence_offset)
            if not await bless_shard(self._client, shard, epoch, nonce, fence_offset + 1):
                raise AbandonedError(f"shard {shard}: epoch {epoch} was not blessed: Redis or its fence has changed")
        return epoch

    async def _leave_mark(self) -> None:
        found = await leave_mark(self._client, self._mark)
        if why := why_not(self._mark.name, found, self._mark):
            raise NotOursError(why)

    async def _take_epoch(self, shard: int) -> int:
        seen = (await fence_state(self._client, shard)).epoch
        epoch = await self._pool.fetchval(_QUERIES["take_epoch"], shard, seen, self._mark.generation)
        if epoch is None:
            now = await self._pool.fetchval(_QUERIES["generation"], shard)
            raise NotOursError(
                f"shard {shard}: this deployment's Redis was replaced (generation {now}, this process has"
                f" {self._mark.generation}): roll the workers with the new REDPACKET_REDIS_URL"
            )
        return int(epoch)

    async def _settled_up_to(self, shard: int, epoch: int, fence_offset: int) -> None:
        while True:
            row = await self._pool.fetchrow(_QUERIES["fence_settled"], shard, fence_offset)
            if row is not None and row["next_offset"] > fence_offset:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        if row["epoch"] != epoch or not row["raised"]:
            raise AbandonedError(f"shard {shard}: {epoch} is an old number: Postgres has settled a Fence as high")
        if row["epoch_taken"] != epoch:
            raise AbandonedError(f"shard {shard}: another owner has taken epoch {row['epoch_taken']} after {epoch}")
