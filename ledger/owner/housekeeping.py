"""What the owner of a shard does beside settling: opens it when it is not open, and its chores while it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from ledger.owner.again import UNAVAILABLE, again_and_again, teller
from ledger.owner.open import Opener
from ledger.owner.shut import ShutEpochs
from redpacket.ops import metrics
from redpacket.shard.client import ShardClient, ShardClosedError
from redpacket.shard.fence import fence_state

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.25


class Chore(Struct, frozen=True):
    """Something done for an open shard again and again, with this pause between."""

    name: str
    do: Callable[[int], Awaitable[None]]
    pause_s: float


class Housekeeping:
    """Tasks for each shard that is owned, in `group`: a bug in opening ends the worker, which is then started anew."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        client: ShardClient,
        opener: Opener,
        shut: ShutEpochs,
        chores: tuple[Chore, ...],
    ) -> None:
        self._group = group
        self._client = client
        self._opener = opener
        self._shut = shut
        self._chores = chores
        self._tasks: dict[int, list[asyncio.Task[None]]] = {}
        self._open: dict[int, int] = {}

    def own(self, shards: set[int]) -> None:
        """From now on these shards are owned here and no others."""
        for shard in self._tasks.keys() - shards:
            for task in self._tasks.pop(shard):
                task.cancel()
            self._open.pop(shard, None)
            metrics.forget_shard(metrics.OF_OWNED_SHARDS, shard)
        for shard in shards - self._tasks.keys():
            metrics.SHARD_OPEN.labels(shard).set(0)
            self._tasks[shard] = [
                self._group.create_task(self._keep_open(shard)),
                *(self._group.create_task(self._do(chore, shard)) for chore in self._chores),
            ]

    @property
    def owned(self) -> set[int]:
        return set(self._tasks)

    @property
    def open(self) -> dict[int, int]:
        """The epoch of each owned shard that was open when last looked at."""
        return dict(self._open)

    async def _do(self, chore: Chore, shard: int) -> None:
        async def do() -> None:
            if shard not in self._open:
                return
            try:
                await chore.do(shard)
            except UNAVAILABLE:
                raise
            except Exception:
                # A bug, met by one shard: the others, and the settling of this one, must not end with it.
                metrics.CHORE_BUGS.labels(chore.name).inc()
                logger.exception("shard %d: %s", shard, chore.name)

        await again_and_again(do, chore.pause_s, teller(logger, f"shard {shard}: {chore.name}"))

    async def _keep_open(self, shard: int) -> None:
        tell = teller(logger, f"shard {shard}: opening")

        def failed(error: Exception) -> None:
            self._mark_closed(shard)
            metrics.SHARD_OPENINGS.labels("abandoned").inc()
            tell(error)

        await again_and_again(lambda: self._look_after(shard), _LOOK_AGAIN_S, failed)

    async def _look_after(self, shard: int) -> None:
        epoch = await self._open_epoch(shard)
        if not epoch:
            self._mark_closed(shard)
            epoch = await self._opener.open(shard)
            metrics.SHARD_OPENINGS.labels("opened").inc()
            logger.info("shard %d open under epoch %d", shard, epoch)
        if shard in self._tasks:
            self._open[shard] = epoch
            metrics.SHARD_OPEN.labels(shard).set(1)

    async def _open_epoch(self, shard: int) -> int:
        """0 where the shard is not open, or must be opened anew."""
        try:
            state = await fence_state(self._client, shard)
        except ShardClosedError:
            return 0  # an empty Redis: it did not even have the functions
        return 0 if self._shut.is_shut(shard, state.epoch) or not state.open else state.epoch

    def _mark_closed(self, shard: int) -> None:
        self._open.pop(shard, None)
        if shard in self._tasks:
            metrics.SHARD_OPEN.labels(shard).set(0)
