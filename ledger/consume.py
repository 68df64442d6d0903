"""From the log to the settler: reads what it owns, and is always able to begin again from Postgres's offset."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from ledger.fenced import Fences
from ledger.owner.again import teller
from ledger.progress import Progress
from ledger.records import chunks, count_settled, decode
from ledger.settle.decide import Rejected
from ledger.settle.transaction import REFUSED, LogRecord, PositionLostError, Settler
from ledger.watch import ProgressWatch
from redpacket.books.database import POSTGRES_FAILURES
from redpacket.log.connect import kafka_access
from redpacket.log.patience import make_patient
from redpacket.log.stop import stop_within
from redpacket.ops import metrics
from redpacket.settings import Settings

logger = logging.getLogger(__name__)

_POLL_RECORDS = 200
_POLL_MS = 200
# A transaction costs as much as some fifty claims in it. So less than a whole poll is followed by a rest in which more
# comes together: longer the longer the work took, which is what makes a claim cheaper under load, and what a lone
# top-up hardly notices.
_REST_TIMES, _REST_MAX_S = 3, 0.2
_REJOIN_POLL_S = 1.0
_AGAIN_S = 0.5
# How often a shard that is held looks whether a person has decided.
_DECISION_AGAIN_S = 1.0
# Events of one shard in one transaction: some tenths of a second. Fewer after one that did not end in time.
_EVENTS_MAX = 5_000
_SETTLE_TIMEOUT_S = 30.0
_SESSION_MS = 6_000
# How long a topic or a broker that the first look did not see may stay unseen.
_METADATA_MAX_AGE_MS = 5_000
_STOP_TIMEOUT_S = 2.0


class LogGapError(Exception):
    """Records are missing between what is settled and what the log has. Never skipped: a person must decide."""


@dataclass(slots=True, eq=False)
class _Owned:
    """One assignment of a shard to this worker. A rebalance makes a new one: what is still done for the old is void.

    `position`: where it is settled; None, and the partition paused, until that is read from Postgres, not before
    `look_at_s`; `progress` has the last one known. `rejected`: a person has decided that the record there moves
    nothing. `tell`: logs why it cannot be settled. `fences`: there once the position was read.
    """

    shard: int
    progress: Progress
    tell: Callable[[Exception], None]
    position: int | None = None
    look_at_s: float = 0.0
    rejected: bool = False
    events_max: int = _EVENTS_MAX
    fences: Fences | None = None


class LedgerConsumer(ConsumerRebalanceListener):
    """Settles the shards that Kafka's group protocol gives to this worker; `tell_owned` is told when they change."""

    def __init__(
        self, settings: Settings, topic: str, settler: Settler, tell_owned: Callable[[set[int]], None]
    ) -> None:
        self._topic = topic
        self._settler = settler
        self._tell_owned = tell_owned
        self._shards: dict[int, _Owned] = {}
        self._tell = teller(logger, "looking where the shards are settled")
        self._consumer = AIOKafkaConsumer(
            **kafka_access(settings),
            group_id=f"{topic}.ledger",
            group_instance_id=settings.instance or None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_SESSION_MS // 6,
            request_timeout_ms=max(settings.kafka_timeout_ms, _SESSION_MS),
            metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        )
        make_patient(self._consumer)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises LogGapError, ConsumerStuckError or KafkaError: then start anew."""
        watch = ProgressWatch(self._consumer, self._topic)
        try:
            await self._consumer.start()
            self._consumer.subscribe([self._topic], listener=self)
            while not stop.is_set():
                await self._find_positions()
                polled = await self._poll()
                began_s = asyncio.get_running_loop().time()
                async with asyncio.TaskGroup() as group:
                    for partition, records in (polled or {}).items():
                        if assigned := self._shards.get(partition.partition):
                            group.create_task(self._settle(assigned, records))
                positions = {it.shard: it.position for it in self._shards.values() if it.position is not None}
                owned = {it.shard: it.progress for it in self._shards.values()}
                await watch.look(owned, positions, rejoining=polled is None)
                if polled and sum(map(len, polled.values())) < _POLL_RECORDS:
                    worked_s = asyncio.get_running_loop().time() - began_s
                    await asyncio.sleep(min(_REST_TIMES * worked_s, _REST_MAX_S))
        finally:
            # Where the group is not left in time, its coordinator notices when the session ends.
            await stop_within(_STOP_TIMEOUT_S, self._consumer.stop())

    async def _poll(self) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] | None:
        """What has come; None while the group is being rejoined: for that aiokafka waits without end."""
        try:
            async with asyncio.timeout(_REJOIN_POLL_S):
                return await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        except TimeoutError:
            return None

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            if owned := self._shards.pop(partition.partition, None):
                owned.progress.end()
        self._tell_owned(set(self._shards))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for partition in assigned:
            shard = partition.partition
            self._shards[shard] = _Owned(shard, Progress(shard), teller(logger, f"shard {shard}: settling"))
            # Paused until its offset is read from Postgres: Kafka's own committed offsets are never used.
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
        self._tell_owned(set(self._shards))

    async def _find_positions(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for owned in list(self._shards.values()):
            if owned.position is not None or now_s < owned.look_at_s:
                continue
            try:
                found = await self._settler.position(owned.shard)
            except POSTGRES_FAILURES as error:
                self._tell(error)
                await asyncio.sleep(_AGAIN_S)
                return
            if self._shards.get(owned.shard) is not owned:
                continue
            metrics.SHARD_HELD.labels(owned.shard).set(found.held)
            owned.progress.note_settled(found.next_offset)
            if found.held:
                owned.look_at_s = now_s + _DECISION_AGAIN_S
                continue
            owned.rejected = found.rejected
            owned.fences = owned.fences or Fences(found.epoch_fenced, int(time.time() * 1000))
            owned.position = found.next_offset
            self._consumer.seek(TopicPartition(self._topic, owned.shard), found.next_offset)
            self._consumer.resume(TopicPartition(self._topic, owned.shard))

    async def _settle(self, owned: _Owned, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        if owned.position is None:
            return
        owned.progress.note_polled(records)
        wanted = [record for record in records if record.offset >= owned.position]
        if wanted and wanted[0].offset != owned.position:
            raise LogGapError(
                f"shard {owned.shard} is settled up to {owned.position}, the log goes on at {wanted[0].offset}"
            )
        if wanted and owned.rejected:
            # Whatever it says, and also where this version could settle it.
            if not await self._settle_chunk(owned, [LogRecord(wanted[0].offset, wanted[0].value or b"", Rejected())]):
                return
            owned.rejected = False
            wanted = wanted[1:]
        logged, undecodable = decode(wanted)
        for chunk in chunks(logged, owned.events_max):
            if not await self._settle_chunk(owned, chunk):
                return
        if undecodable is not None:
            await self._hold(owned, undecodable.offset, undecodable.value or b"", "", "it cannot be decoded")

    async def _settle_chunk(self, owned: _Owned, chunk: Sequence[LogRecord]) -> bool:
        """False where it was not settled, or is not known to be; then the position is looked up again."""
        if self._shards.get(owned.shard) is not owned:
            return False
        assert owned.position is not None
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_SETTLE_TIMEOUT_S):
                settled = await self._settler.settle(owned.shard, chunk, owned.position)
        except REFUSED as error:
            if len(chunk) == 1:
                poison = chunk[0]
                await self._hold(owned, poison.kafka_offset, poison.raw, repr(poison.record), f"refused: {error!r}")
                return False
            # One by one: no other than the one that is refused is to wait for a person.
            for logged in chunk:
                if not await self._settle_chunk(owned, [logged]):
                    return False
            return True
        except (PositionLostError, *POSTGRES_FAILURES) as error:
            # Done or not done: the position in Postgres tells. Read on from there.
            owned.tell(error)
            # Also where its session was ended: a slow one may be taken for one that stands still (owner/standing.py).
            if not isinstance(error, PositionLostError):
                owned.events_max = max(1, owned.events_max // 4)
            self._pause(owned)
            await asyncio.sleep(_AGAIN_S)
            return False
        owned.position = settled.next_offset
        owned.progress.note_settled(settled.next_offset)
        owned.events_max = min(_EVENTS_MAX, owned.events_max * 2)
        metrics.SETTLE_SECONDS.observe(time.perf_counter() - began)
        assert owned.fences is not None
        lost = owned.fences.lost(chunk, settled.settlement.records)
        count_settled(owned.shard, settled, lost)
        return True

    async def _hold(self, owned: _Owned, kafka_offset: int, raw: bytes, content: str, why: str) -> None:
        """The record there waits for a person. It is the ledger that keeps this: who looks up the position is told."""
        logger.error("shard %d is held at offset %d until a person decides: %s", owned.shard, kafka_offset, why)
        try:
            await self._settler.hold(owned.shard, kafka_offset, raw, content, why)
        except POSTGRES_FAILURES as error:
            owned.tell(error)
            await asyncio.sleep(_AGAIN_S)
        self._pause(owned)

    def _pause(self, owned: _Owned) -> None:
        owned.position = None
        if self._shards.get(owned.shard) is owned:
            self._consumer.pause(TopicPartition(self._topic, owned.shard))
