"""Ends packets: those whose time is over, and those whose closing was begun by somebody who did not come back."""

import asyncio
from collections.abc import Iterable
from typing import Literal

import asyncpg

from redpacket.books.database import Books
from redpacket.commit.lane import Answer
from redpacket.commit.path import CommitPath
from redpacket.ids import parse_id, utc
from redpacket.ops import metrics
from redpacket.shard.client import ShardClient
from redpacket.shard.fence import fence_state
from redpacket.shard.read import read_closing
from redpacket.sql import read_queries

_QUERIES = read_queries("ledger.owner")

# Packets ended together: they make one batch, or a few.
_AT_ONCE = 200


class PacketEnds:
    """What is due is found in Postgres, so that a lost Redis forgets none; whether it is, Redis's clock decides."""

    def __init__(self, client: ShardClient, books: Books, pool: asyncpg.Pool, path: CommitPath) -> None:
        self._client = client
        self._books = books
        self._pool = pool
        self._path = path

    async def finish_closing(self, shard: int) -> None:
        """Raises as CommitPath.close_packet."""
        await self._end(await read_closing(self._client, shard, _AT_ONCE), "closed")

    async def expire(self, shard: int) -> None:
        """Gives back what is left of packets whose time is over. Raises as CommitPath.close_packet, what asyncpg
        raises, and BooksUnavailableError."""
        now = utc((await fence_state(self._client, shard)).now_ms)
        due = await self._books.rows("due_packets", shard, now, utc(0), "", _AT_ONCE)
        while due:
            ids = [row["id"] for row in due]
            days = {row["day"] for row in due}
            still_open = {row["id"] for row in await self._books.rows("open_packets", ids, days=days)}
            # A packet that is over stays so: nobody has to look at it again.
            over = [row for row in due if row["id"] not in still_open]
            if over:
                gone = [row["expires_at"] for row in over], [row["id"] for row in over]
                await self._pool.execute(_QUERIES["forget_ending"], shard, *gone)
            metrics.EXPIRED.inc(await self._end(sorted(still_open), "expired"))
            due = await self._books.rows("due_packets", shard, now, due[-1]["expires_at"], due[-1]["id"], _AT_ONCE)

    async def _end(self, ids: Iterable[str], why: Literal["closed", "expired"]) -> int:
        """How many were ended by this; what one of them has raised, once all have been tried."""
        packets = [packet for id in ids if (packet := parse_id(id))]
        ends = (self._path.close_packet(packet, why) for packet in packets)
        answers = await asyncio.gather(*ends, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return sum(answer.fresh for answer in answers if isinstance(answer, Answer))
