"""What has come in to a wallet, on a reading that leaves nothing out: only after it may a payer be called short.

Credits come from any shard. So every partition is asked for its end, after the request arrived, and the ledger is read
until every shard is settled up to there.
"""

import asyncio

from redpacket.books.database import Books
from redpacket.books.snapshots import wallet_after_all
from redpacket.commit.rounds import Rounds
from redpacket.log.topic import LogEnds
from redpacket.shard.client import ShardClient
from redpacket.shard.load import refresh_wallet

_LOOK_AGAIN_S = 0.02


class Funds:
    """The cold path of a payer whose wallet seems short, shared by those who wait for it."""

    def __init__(self, client: ShardClient, books: Books, ends: LogEnds) -> None:
        self._client = client
        self._books = books
        # All wallets share one asking for the ends.
        self._ends: Rounds[None, list[int]] = Rounds(lambda _: ends.read())

    async def refresh_after_all(self, shard: int, owner: str) -> None:
        """Refreshes the wallet from a reading of the ledger that has everything acknowledged before this call.

        Waits as long as the ledger takes: the caller has the deadline. Raises LogUnavailableError,
        BooksUnavailableError, ShardClosedError or ShardUnreachableError.
        """
        ends = await self._ends.join(None)
        while True:
            reading = await wallet_after_all(self._books, shard, owner)
            if all(settled >= end for settled, end in zip(reading.next_offsets, ends, strict=True)):
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        await refresh_wallet(self._client, shard, owner, reading.credits_minor)
