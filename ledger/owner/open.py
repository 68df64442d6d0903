"""Opens a shard: the same for the first start, a lost Redis and one that was replaced.

A number gets one pass and each step is sent once: anything but a clear yes abandons it, and the next attempt begins
again with a number of its own.
"""

import asyncio
import secrets

import asyncpg

from redpacket.log.producer import LogProducer
from redpacket.log.record import Fence
from redpacket.shard.client import ShardClient
from redpacket.shard.fence import bless_shard, close_shard, fence_state
from redpacket.sql import read_queries

_QUERIES = read_queries("ledger.owner")
_OPENING_TIMEOUT_S = 30.0
_LOOK_AGAIN_S = 0.02


class AbandonedError(Exception):
    """This attempt's number is spent; nothing was opened by it."""


class Opener:
    """Opens shards that this worker settles; it waits for its own settling to reach the Fence."""

    def __init__(self, pool: asyncpg.Pool, client: ShardClient, producer: LogProducer) -> None:
        self._pool = pool
        self._client = client
        self._producer = producer

    async def open(self, shard: int) -> int:
        """The epoch under which the shard is open now. Raises AbandonedError, or what the parts raise."""
        async with asyncio.timeout(_OPENING_TIMEOUT_S):
            await self._client.load_library()
            seen = (await fence_state(self._client, shard)).epoch
            epoch = int(await self._pool.fetchval(_QUERIES["take_epoch"], shard, seen))
            # Closed before the Fence is written: nothing may be reserved under an older epoch and published behind it.
            nonce = secrets.token_hex(8)
            if not await close_shard(self._client, shard, epoch, nonce):
                raise AbandonedError(f"shard {shard}: Redis has seen an epoch as high as {epoch}")
            fence_offset = await self._producer.append(shard, Fence(epoch))
            await self._settled_up_to(shard, epoch, fence_offset)
            if not await bless_shard(self._client, shard, epoch, nonce, fence_offset + 1):
                raise AbandonedError(f"shard {shard}: epoch {epoch} was not blessed: Redis or its fence has changed")
        return epoch

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
