"""What the owner of a shard does beside settling: looks at its fence, and opens it when it is not open."""

import asyncio
import logging

from ledger.owner.open import AbandonedError, Opener
from ledger.owner.shut import ShutEpochs
from redpacket.books.database import POSTGRES_FAILURES
from redpacket.log.producer import LogUnavailableError
from redpacket.ops import metrics
from redpacket.shard.client import MemoryFullError, ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.fence import fence_state

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.25
_UNAVAILABLE = (
    AbandonedError,
    LogUnavailableError,
    MemoryFullError,
    ShardClosedError,
    ShardUnreachableError,
    *POSTGRES_FAILURES,
)


class Housekeeping:
    """One task for each shard that is owned, in `group`: a bug in one ends the worker, which is then started anew."""

    def __init__(self, group: asyncio.TaskGroup, client: ShardClient, opener: Opener, shut: ShutEpochs) -> None:
        self._group = group
        self._client = client
        self._opener = opener
        self._shut = shut
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open: set[int] = set()

    def own(self, shards: set[int]) -> None:
        """From now on these shards are owned here and no others."""
        for shard in self._tasks.keys() - shards:
            self._tasks.pop(shard).cancel()
            self._open.discard(shard)
            metrics.SHARD_OPEN.remove(shard)
        for shard in shards - self._tasks.keys():
            self._tasks[shard] = self._group.create_task(self._keep(shard))
            metrics.SHARD_OPEN.labels(shard).set(0)

    @property
    def owned(self) -> set[int]:
        return set(self._tasks)

    @property
    def closed(self) -> set[int]:
        """Owned shards that were not open when last looked at."""
        return self.owned - self._open

    async def _keep(self, shard: int) -> None:
        while True:
            try:
                await self._look_after(shard)
            except _UNAVAILABLE as error:
                self._mark(shard, False)
                metrics.SHARD_OPENINGS.labels("abandoned").inc()
                logger.warning("shard %d: %r", shard, error)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _look_after(self, shard: int) -> None:
        try:
            state = await fence_state(self._client, shard)
            is_open = state.open and not self._shut.is_shut(shard, state.epoch)
        except ShardClosedError:
            is_open = False  # an empty Redis: it did not even have the functions
        if not is_open:
            self._mark(shard, False)
            epoch = await self._opener.open(shard)
            metrics.SHARD_OPENINGS.labels("opened").inc()
            logger.info("shard %d open under epoch %d", shard, epoch)
        self._mark(shard, True)

    def _mark(self, shard: int, is_open: bool) -> None:
        (self._open.add if is_open else self._open.discard)(shard)
        if shard in self._tasks:
            metrics.SHARD_OPEN.labels(shard).set(is_open)
