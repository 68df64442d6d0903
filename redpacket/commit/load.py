"""Brings in from the ledger what Redis does not hold, or proves that the ledger does not hold it either."""

from collections.abc import Mapping
from datetime import date
from enum import Enum

from msgspec import Struct

from redpacket.books.database import Books, BooksUnavailableError
from redpacket.books.snapshots import known_identities, operation_snapshots, wallet_snapshots
from redpacket.commit.rounds import Gathered
from redpacket.ops import metrics
from redpacket.shard.client import ShardClient, ShardClosedError
from redpacket.shard.fence import fence_state
from redpacket.shard.load import Installed, load_operation, load_wallet


class Loaded(Enum):
    """`BEHIND`: the snapshot was older than the floor, or what was staged had expired; ask again in a moment."""

    THERE = "there"
    BEHIND = "behind"


class Absent(Struct, frozen=True):
    """The proof that there is no such operation: the ledger, settled up to `next_offset`, does not know it."""

    next_offset: int


_LoadedOperation = Loaded | Absent | BooksUnavailableError
_LoadedOperations = dict[str, _LoadedOperation]


class Loader:
    """Loads, a round at a time for each shard. All raise BooksUnavailableError, ShardClosedError,
    ShardUnreachableError or MemoryFullError."""

    def __init__(self, client: ShardClient, books: Books) -> None:
        self._client = client
        self._books = books
        self._operations: Gathered[int, str, _LoadedOperation] = Gathered(self._load_operations)
        self._wallets: Gathered[int, str, Loaded] = Gathered(self._load_wallets)

    async def aclose(self) -> None:
        await self._operations.aclose()
        await self._wallets.aclose()

    async def load_operation(self, shard: int, identity: str) -> Loaded | Absent:
        """Loads the operation of this identity, with the claims of a packet, or proves that there is none."""
        loaded = await self._operations.join(shard, identity)
        if isinstance(loaded, BooksUnavailableError):
            raise loaded
        return loaded

    async def load_wallet(self, shard: int, owner: str) -> Loaded:
        """Loads the wallet."""
        return await self._wallets.join(shard, owner)

    async def _load_operations(self, shard: int, identities: list[str]) -> _LoadedOperations:
        # The floor first, then the snapshot: only a snapshot that reaches the floor of a time after the key was found
        # absent proves that it was never there.
        state = await fence_state(self._client, shard)
        if not state.open:
            raise ShardClosedError(f"shard {shard} is closed")
        snapshot = await known_identities(self._books, shard, identities)
        if snapshot.next_offset < state.floor:
            return dict.fromkeys(identities, Loaded.BEHIND)
        loaded: _LoadedOperations = dict.fromkeys(identities, Absent(snapshot.next_offset))
        for chunk in snapshot.in_chunks():
            try:
                loaded |= await self._load_known(shard, chunk)
            except BooksUnavailableError as error:
                # What was too much, or came at a bad moment, is told to those who asked for it.
                loaded |= dict.fromkeys(chunk, error)
        return loaded

    async def _load_known(self, shard: int, known_days: Mapping[str, date]) -> _LoadedOperations:
        snapshot = await operation_snapshots(self._books, shard, known_days)
        loaded: _LoadedOperations = {}
        for identity, known in snapshot.operations.items():
            installed = await load_operation(self._client, shard, snapshot.next_offset, identity, known)
            metrics.LOADS.labels("packet" if known.state else "operation").inc()
            loaded[identity] = Loaded.BEHIND if installed is Installed.BEHIND else Loaded.THERE
        return loaded

    async def _load_wallets(self, shard: int, owners: list[str]) -> dict[str, Loaded]:
        snapshot = await wallet_snapshots(self._books, shard, owners)
        return {
            owner: await self._load_wallet(shard, snapshot.next_offset, owner, *moved, owner in snapshot.frozen)
            for owner, moved in snapshot.wallets.items()
        }

    async def _load_wallet(
        self, shard: int, next_offset: int, owner: str, credited: int, reserved: int, frozen: bool
    ) -> Loaded:
        installed = await load_wallet(self._client, shard, next_offset, owner, credited, reserved, frozen)
        metrics.LOADS.labels("wallet").inc(installed is Installed.LOADED)
        return Loaded.BEHIND if installed is Installed.BEHIND else Loaded.THERE
