"""One shard's lane in this process: gather a batch, reserve, publish, confirm; one batch at a time.

Requests that arrive while a batch is under way form the next one, so load makes a claim cheaper. The confirm of a batch
rides on the reserve of the next, or goes by itself where there is none.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

from msgspec import Struct

from redpacket.commit.amounts import Amounts
from redpacket.commit.compose import compose_record
from redpacket.log.producer import LogProducer, LogUnavailableError
from redpacket.ops import metrics
from redpacket.settings import Settings
from redpacket.shard.client import MemoryFullError, ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.outbox import Confirm, Entry, confirm
from redpacket.shard.reserve import (
    ClaimFound,
    ClaimItem,
    CloseItem,
    Item,
    Missing,
    OperationFound,
    OperationItem,
    OutboxLimits,
    PacketOver,
    Pending,
    Refused,
    Reply,
    Reserved,
    Short,
    Stalled,
    reserve,
)

logger = logging.getLogger(__name__)


_CROWDED = Refused("crowded")


class Answer(Struct, frozen=True):
    """What became of an item, by Redis at `now_ms`. `fresh` where this very attempt made it."""

    result: ClaimFound | OperationFound | PacketOver | Pending | Missing | Short | Stalled | Refused
    now_ms: int
    fresh: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    item: Item
    answer: asyncio.Future[Answer]
    note: Callable[[Answer], None]

    def resolve(self, answer: Answer) -> None:
        # One whose deadline has passed no longer listens.
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True)
class _InFlight:
    """A batch that is reserved: once Kafka has it and its entry is confirmed, these are final."""

    confirm: Confirm
    at_ms: int
    finals: list[tuple[_Waiter, Answer]]
    acknowledged_s: float = 0.0

    def note(self) -> None:
        of_claims = Answer(Pending(self.confirm.entry, self.at_ms, ""), self.at_ms)
        for waiter, final in self.finals:
            waiter.note(self._pending(final) if isinstance(final.result, OperationFound) else of_claims)

    def resolve(self, confirmed: bool) -> None:
        if confirmed:
            metrics.CONFIRM_SECONDS.observe(time.perf_counter() - self.acknowledged_s)
        for waiter, final in self.finals:
            waiter.resolve(final if confirmed else self._pending(final))

    def _pending(self, final: Answer) -> Answer:
        id = final.result.id if isinstance(final.result, OperationFound) else ""
        return Answer(Pending(self.confirm.entry, self.at_ms, id), self.at_ms)


class Lane:
    """All that this process reserves on one shard goes through its lane."""

    def __init__(
        self, shard: int, settings: Settings, client: ShardClient, producer: LogProducer, amounts: Amounts
    ) -> None:
        self._shard = shard
        self._settings = settings
        self._limits = OutboxLimits(settings.outbox_max, settings.outbox_age_max_ms)
        self._client = client
        self._producer = producer
        self._amounts = amounts
        self._waiting: deque[_Waiter] = deque()
        self._drain_task: asyncio.Task[None] | None = None

    async def submit(self, item: Item, note: Callable[[Answer], None]) -> Answer:
        """Reserves `item` with the next batch; the answer comes when it is final, refused, or not known in time.

        `note` is given what is so meanwhile, which is that it is pending: its caller may not have the time to wait.
        Raises ShardClosedError (nothing was reserved) or ShardUnreachableError (unknown; ask again).
        """
        if len(self._waiting) >= self._settings.queue_max:
            return Answer(Refused("overloaded"), 0)
        waiter = _Waiter(item, asyncio.get_running_loop().create_future(), note)
        self._waiting.append(waiter)
        if self._drain_task is None:
            self._start()
        return await waiter.answer

    async def aclose(self) -> None:
        """Waits for what is under way: every part of it has a deadline."""
        while self._drain_task is not None:
            await asyncio.wait([self._drain_task])

    def _start(self) -> None:
        # In a context of its own: it serves many requests, not the one that happens to begin it.
        self._drain_task = asyncio.create_task(self._drain(), context=Context())
        self._drain_task.add_done_callback(self._drained)

    def _drained(self, task: asyncio.Task[None]) -> None:
        self._drain_task = None
        if not task.cancelled() and (error := task.exception()):
            # A bug. Those in its batch were told; the others go on.
            logger.error("lane of shard %d: %r", self._shard, error, exc_info=error)
        if self._waiting:
            self._start()

    async def _drain(self) -> None:
        acknowledged: _InFlight | None = None
        while self._waiting or acknowledged:
            batch = self._take()
            try:
                if batch:
                    acknowledged = await self._commit(batch, acknowledged)
                elif acknowledged:
                    await self._confirm_alone(acknowledged)
                    acknowledged = None
            except Exception as error:
                for waiter in batch:
                    waiter.fail(error)
                if acknowledged:
                    acknowledged.resolve(False)
                raise

    def _take(self) -> list[_Waiter]:
        batch: list[_Waiter] = []
        while self._waiting and len(batch) < self._settings.batch_max:
            waiter = self._waiting.popleft()
            if not waiter.answer.done():
                batch.append(waiter)
        return batch

    async def _commit(self, batch: list[_Waiter], before: _InFlight | None) -> _InFlight | None:
        """Takes one batch as far as Kafka's acknowledgement, confirming the one before on the way."""
        metrics.BATCH_ITEMS.observe(len(batch))
        items = [waiter.item for waiter in batch]
        confirms = [before.confirm] if before else []
        try:
            with metrics.RESERVE_SECONDS.time():
                reply, entry = await reserve(self._client, self._shard, self._limits, confirms, items)
        except MemoryFullError:
            # Refused whole, with the confirm that rode on it; that one is allowed even now.
            for waiter in batch:
                waiter.resolve(Answer(Refused("overloaded"), 0))
            if before:
                await self._confirm_alone(before)
            return None
        except (ShardClosedError, ShardUnreachableError) as error:
            for waiter in batch:
                waiter.fail(error)
            if before:
                before.resolve(False)
            return None
        if before:
            before.resolve(reply.confirmed[0])
        crowded, finals = _resolve_decided(batch, reply, entry)
        # First in the next batch: they came before those who wait.
        self._waiting.extendleft(reversed(crowded))
        if entry is None:
            return None
        acknowledged = _InFlight(Confirm(reply.epoch, reply.entry), entry.at_ms, finals)
        acknowledged.note()
        record = await compose_record(self._amounts, reply.epoch, reply.entry, entry)
        try:
            with metrics.PUBLISH_SECONDS.time():
                await self._producer.append(self._shard, record)
        except LogUnavailableError as error:
            logger.warning("entry %d stays in the outbox: %s", reply.entry, error)
            acknowledged.resolve(False)
            return None
        acknowledged.acknowledged_s = time.perf_counter()
        return acknowledged

    async def _confirm_alone(self, acknowledged: _InFlight) -> None:
        try:
            (confirmed,) = await confirm(self._client, self._shard, [acknowledged.confirm])
        except (ShardClosedError, ShardUnreachableError):
            confirmed = False
        acknowledged.resolve(confirmed)


def _resolve_decided(
    batch: list[_Waiter], reply: Reply, entry: Entry | None
) -> tuple[list[_Waiter], list[tuple[_Waiter, Answer]]]:
    """Answers all but those whose turn is in the next batch, and those reserved just now: these come back with the
    answer that the confirm makes final."""
    splits = dict(entry.packets) if entry else {}
    crowded, finals = [], []
    for waiter, result in zip(batch, reply.results, strict=True):
        if result == _CROWDED:
            crowded.append(waiter)
            continue
        if not isinstance(result, Reserved):
            waiter.resolve(Answer(result, reply.now_ms))
            continue
        item = waiter.item
        final: ClaimFound | OperationFound | PacketOver
        match item:
            case ClaimItem():
                final = ClaimFound(result.share, reply.now_ms, splits[item.packet])
            case CloseItem():
                assert result.state
                final = PacketOver(result.state, reply.now_ms)
            case OperationItem():
                final = OperationFound(result.id, reply.now_ms, result.terms or item.terms)
        finals.append((waiter, Answer(final, reply.now_ms, fresh=not result.repeated)))
    return crowded, finals
