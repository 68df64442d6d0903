"""Keeps Redis's memory: what the ledger has and nobody uses is evicted above a watermark, what older epochs left is
unlinked, and above a higher watermark no new packets are taken."""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from ledger.owner.again import again_and_again, teller
from redpacket.books.database import Books
from redpacket.books.snapshots import known_identities, operation_snapshots, wallet_snapshots
from redpacket.limits import maxmemory_mib, watermarks_bytes
from redpacket.ops import metrics
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient
from redpacket.shard.evict import evict_operation, evict_wallet, sweep
from redpacket.shard.fence import set_full

logger = logging.getLogger(__name__)

# So long at a time, and then a pause: sends whose proof an eviction has made too old need one to get through.
_WORK_S = 0.1
_LOOK_AGAIN_S = 0.25
_KEYS_AT_ONCE = 500
# What has not been used for so long is cold; each round through all keys that did not bring enough halves it.
_IDLE_S, _IDLE_MIN_S = 600, 1
_NEVER_S = 10**9
_MIB = 2**20

_NAME = re.compile(r"\{rp(\d+)\}\d+:(op|wallet):(.+)")
_SHARD = re.compile(r"\{rp(\d+)\}\d+:")


class Janitor:
    """Looks through all keys of Redis in small steps, and sees to those of the shards that are open and owned here.

    `epochs` tells these, each with its epoch.
    """

    def __init__(
        self, settings: Settings, client: ShardClient, books: Books, epochs: Callable[[], dict[int, int]]
    ) -> None:
        self._evict_mib, self._refuse_mib = settings.memory_evict_mib, settings.memory_refuse_mib
        # Of the Redis that was last looked at.
        self._max_bytes = 0
        self._client = client
        self._books = books
        self._epochs = epochs
        self._cursor = 0
        self._idle_s = _IDLE_S
        # What each shard was told of memory.
        self._full: dict[int, bool] = {}
        # When these are others, a round looks for what older epochs have left.
        self._epochs_seen: dict[int, int] = {}
        self._epochs_passed = False

    async def keep(self) -> None:
        """Until cancelled."""
        await again_and_again(self._look, _LOOK_AGAIN_S, teller(logger, "looking after memory"))

    async def _look(self) -> None:
        used, max_bytes = await self._client.memory_bytes()
        metrics.REDIS_BYTES.set(used)
        evict, refuse = watermarks_bytes(self._evict_mib, self._refuse_mib, max_bytes)
        self._tell_room(max_bytes, refuse)
        epochs = self._epochs()
        if epochs != self._epochs_seen:
            self._epochs_seen, self._epochs_passed, self._cursor = epochs, True, 0
            self._full = {}
        for shard in epochs:
            if self._full.get(shard) is not (full := used > refuse):
                await set_full(self._client, shard, full)
                self._full[shard] = full
        if used <= evict:
            self._idle_s = _IDLE_S
        if used > evict or self._epochs_passed:
            await self._go_on(epochs.keys(), self._idle_s if used > evict else _NEVER_S)

    def _tell_room(self, max_bytes: int, refuse: int) -> None:
        """Warns once for each Redis whose maxmemory is too small for the settings."""
        if max_bytes != self._max_bytes and refuse != self._refuse_mib * _MIB:
            logger.warning(
                "Redis's maxmemory of %d MiB leaves no room for claims above REDPACKET_MEMORY_REFUSE_MIB=%d: new"
                " packets are refused above %d MiB instead. Set maxmemory to at least %d MiB",
                *(max_bytes // _MIB, self._refuse_mib, refuse // _MIB, maxmemory_mib(self._refuse_mib)),
            )
        self._max_bytes = max_bytes

    async def _go_on(self, shards: Collection[int], idle_s: int) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _WORK_S
        while loop.time() < until_s:
            await self._step(shards, idle_s)
            if self._cursor == 0:
                self._epochs_passed = False
                self._idle_s = max(_IDLE_MIN_S, self._idle_s // 2)
                return

    async def _step(self, shards: Collection[int], idle_s: int) -> None:
        # Further on whatever happens to these: none of them shall keep the others from their turn.
        self._cursor, names = await self._client.scan(self._cursor, _KEYS_AT_ONCE)
        for shard, of_shard in _by_shard(names).items():
            if shard in shards:
                swept = await sweep(self._client, shard, idle_s, of_shard)
                metrics.UNLINKED.inc(swept.unlinked)
                await self._evict(shard, swept.cold)

    async def _evict(self, shard: int, cold: Sequence[str]) -> None:
        named = [found.groups() for name in cold if (found := _NAME.fullmatch(name))]
        # Mostly nothing is cold, and then Postgres is not asked.
        if identities := [name for _, kind, name in named if kind == "op"]:
            await self._evict_operations(shard, identities)
        if owners := [name for _, kind, name in named if kind == "wallet"]:
            await self._evict_wallets(shard, owners)

    async def _evict_operations(self, shard: int, identities: list[str]) -> None:
        for chunk in (await known_identities(self._books, shard, identities)).in_chunks():
            snapshot = await operation_snapshots(self._books, shard, chunk)
            for identity, known in snapshot.operations.items():
                if await evict_operation(self._client, shard, snapshot.next_offset, identity, known):
                    metrics.EVICTIONS.labels("packet" if known.state else "operation").inc()

    async def _evict_wallets(self, shard: int, owners: list[str]) -> None:
        snapshot = await wallet_snapshots(self._books, shard, owners)
        for owner, moved in snapshot.wallets.items():
            if await evict_wallet(self._client, shard, snapshot.next_offset, owner, *moved):
                metrics.EVICTIONS.labels("wallet").inc()


def _by_shard(names: Iterable[str]) -> dict[int, list[str]]:
    by_shard: defaultdict[int, list[str]] = defaultdict(list)
    for name in names:
        if found := _SHARD.match(name):
            by_shard[int(found[1])].append(name)
    return by_shard
