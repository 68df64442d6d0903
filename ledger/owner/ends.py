"""Ends packets: those whose time is over, and those whose closing was begun by somebody who did not come back."""

import asyncio

from redpacket.books.database import Books
from redpacket.commit.path import CommitPath
from redpacket.ids import parse_id, utc
from redpacket.ops import metrics
from redpacket.shard.client import ShardClient
from redpacket.shard.fence import fence_state
from redpacket.shard.read import read_closing

# Packets ended together: they make one batch, or a few.
_AT_ONCE = 200


class PacketEnds:
    """What is due is found in Postgres, so that a lost Redis forgets none; whether it is, Redis's clock decides."""

    def __init__(self, client: ShardClient, books: Books, path: CommitPath) -> None:
        self._client = client
        self._books = books
        self._path = path

    async def finish_closing(self, shard: int) -> None:
        """Raises as CommitPath.close_packet."""
        ids = await read_closing(self._client, shard, _AT_ONCE)
        await asyncio.gather(*(self._path.close_packet(id, "closed") for id in map(parse_id, ids) if id))

    async def expire(self, shard: int) -> None:
        """Gives back what is left of packets whose time is over. Raises as CommitPath.close_packet, and
        BooksUnavailableError."""
        ended = _AT_ONCE
        # On until there are no more, or only such as have ended and are not settled yet.
        while ended:
            now = utc((await fence_state(self._client, shard)).now_ms)
            due = await self._books.rows("due_packets", shard, now, _AT_ONCE)
            ids = [parse_id(row["id"]) for row in due]
            answers = await asyncio.gather(*(self._path.close_packet(id, "expired") for id in ids if id))
            ended = sum(answer.fresh for answer in answers)
            metrics.EXPIRED.inc(ended)
