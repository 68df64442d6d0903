"""Brings in from the ledger what Redis does not hold, or proves that the ledger does not hold it either."""

from enum import Enum

from redpacket.books.database import Books
from redpacket.books.snapshots import operation_snapshot, wallet_snapshot
from redpacket.commit.rounds import Rounds
from redpacket.shard.client import ShardClient, ShardClosedError
from redpacket.shard.fence import fence_state
from redpacket.shard.load import Installed, load_operation, load_wallet, refresh_wallet


class Loaded(Enum):
    """`BEHIND`: the ledger has not settled up to the floor yet; ask again in a moment."""

    THERE = "there"
    BEHIND = "behind"


class Loader:
    """Loads, one at a time for each key. All raise BooksUnavailableError, ShardClosedError, ShardUnreachableError or
    MemoryFullError."""

    def __init__(self, client: ShardClient, books: Books) -> None:
        self._client = client
        self._books = books
        self._operations: Rounds[tuple[int, str], Loaded | int] = Rounds(self._load_operation)
        self._wallets: Rounds[tuple[int, str], Loaded] = Rounds(self._load_wallet)

    async def load_operation(self, shard: int, identity: str) -> Loaded | int:
        """Where the ledger knows no such operation: the next_offset of the snapshot that says so, as the proof."""
        return await self._operations.join((shard, identity))

    async def load_wallet(self, shard: int, owner: str) -> Loaded:
        """Loads the wallet, or refreshes what has come in where it is there."""
        return await self._wallets.join((shard, owner))

    async def _load_operation(self, key: tuple[int, str]) -> Loaded | int:
        shard, identity = key
        # The floor first, then the snapshot: only a snapshot that reaches the floor of a time after the key was found
        # absent proves that it was never there.
        state = await fence_state(self._client, shard)
        if not state.open:
            raise ShardClosedError(f"shard {shard} is closed")
        snapshot = await operation_snapshot(self._books, shard, identity)
        if snapshot.next_offset < state.floor:
            return Loaded.BEHIND
        known = snapshot.operation
        if known is None:
            return snapshot.next_offset
        installed = await load_operation(
            self._client,
            shard,
            snapshot.next_offset,
            identity,
            known.id,
            known.at_ms,
            known.terms,
            known.claims,
            "" if known.state in ("", "open", "sold_out") else known.state,
        )
        return Loaded.BEHIND if installed is Installed.BEHIND else Loaded.THERE

    async def _load_wallet(self, key: tuple[int, str]) -> Loaded:
        shard, owner = key
        snapshot = await wallet_snapshot(self._books, shard, owner)
        credits, debits = snapshot.credits_minor, snapshot.debits_minor
        installed = await load_wallet(self._client, shard, snapshot.next_offset, owner, credits, debits)
        if installed is Installed.THERE:
            await refresh_wallet(self._client, shard, owner, credits)
        return Loaded.BEHIND if installed is Installed.BEHIND else Loaded.THERE
