"""What has come in to a wallet, on a reading that leaves nothing out: only after it may a payer be called short.

Credits come from any shard. So every partition is asked for its end, after the request arrived, and the ledger is read
until every shard is settled up to there; the wallet is read after that.
"""

import asyncio

from redpacket.books.database import Books
from redpacket.books.snapshots import wallet_snapshots
from redpacket.commit.rounds import Gathered, Rounds
from redpacket.log.topic import LogEnds

_LOOK_AGAIN_S = 0.02


class Funds:
    """The cold path of a payer whose wallet seems short. What is asked of all shards is shared by those who wait."""

    def __init__(self, books: Books, ends: LogEnds) -> None:
        self._books = books
        self._ends: Rounds[None, list[int]] = Rounds(lambda _: ends.read())
        self._settled: Rounds[None, list[int]] = Rounds(self._read_settled)
        self._credited: Gathered[int, str, int] = Gathered(self._read_credited)

    async def aclose(self) -> None:
        await self._ends.aclose()
        await self._settled.aclose()
        await self._credited.aclose()

    async def credited(self, shard: int, owner: str) -> int:
        """All that ever came in to the wallet, as far as the ledger has it by now. Raises BooksUnavailableError."""
        return await self._credited.join(shard, owner)

    async def credited_after_all(self, shard: int, owner: str) -> int:
        """All that ever came in to the wallet, on a reading that has everything acknowledged before this call.

        Waits as long as the ledger takes: the caller has the deadline. Raises LogUnavailableError and
        BooksUnavailableError.
        """
        ends = await self._ends.join(None)
        while any(settled < end for settled, end in zip(await self._settled.join(None), ends, strict=True)):
            await asyncio.sleep(_LOOK_AGAIN_S)
        return await self.credited(shard, owner)

    async def _read_credited(self, shard: int, owners: list[str]) -> dict[str, int]:
        wallets = (await wallet_snapshots(self._books, shard, owners)).wallets
        return {owner: credited_minor for owner, (credited_minor, _) in wallets.items()}

    async def _read_settled(self, _: None) -> list[int]:
        (row,) = await self._books.rows("settled_up_to")
        settled: list[int] = row["next_offsets"]
        return settled
