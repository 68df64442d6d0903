"""From the log to the settler: reads what it owns, and is always able to begin again from Postgres's offset."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from ledger.settle.transaction import LogRecord, PositionLostError, Settler
from ledger.watch import ProgressWatch
from redpacket.books.database import POSTGRES_FAILURES
from redpacket.log.record import decode_record
from redpacket.ops import metrics
from redpacket.settings import Settings

logger = logging.getLogger(__name__)

# Records of all partitions in one poll: each may hold some hundred events, all settled in one transaction per shard.
_POLL_RECORDS = 200
_POLL_MS = 200
_AGAIN_S = 0.5
_SETTLE_TIMEOUT_S = 30.0
_SESSION_MS = 6_000
_STOP_TIMEOUT_S = 2.0


class LogGapError(Exception):
    """Records are missing between what is settled and what the log has. Never skipped: a person must decide."""


class LedgerConsumer(ConsumerRebalanceListener):
    """Settles the shards that Kafka's group protocol gives to this worker; `owned` changes as it does."""

    def __init__(self, settings: Settings, topic: str, settler: Settler, owned: Callable[[set[int]], None]) -> None:
        self._topic = topic
        self._settler = settler
        self._owned = owned
        # Where each owned shard is; one that is absent is looked up in Postgres before it is read on.
        self._positions: dict[int, int] = {}
        self._unpositioned: set[int] = set()
        # Shards with a record that cannot be decoded: not read on until a person has decided.
        self._poisoned: set[int] = set()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap,
            group_id=f"{topic}.ledger",
            group_instance_id=settings.instance or None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_SESSION_MS // 6,
            request_timeout_ms=max(settings.kafka_timeout_ms, _SESSION_MS),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises LogGapError, ConsumerStuckError or KafkaError: then start anew."""
        watch = ProgressWatch(self._consumer, self._topic)
        await self._consumer.start()
        try:
            self._consumer.subscribe([self._topic], listener=self)
            while not stop.is_set():
                await self._seek_unpositioned()
                polled = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
                await asyncio.gather(
                    *(self._settle(partition.partition, records) for partition, records in polled.items())
                )
                await watch.look({s: at for s, at in self._positions.items() if s not in self._unpositioned})
        finally:
            await self._stop()

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._consumer.stop()
        except TimeoutError:
            logger.warning("the group was not left in time: its coordinator notices when the session ends")

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            self._positions.pop(partition.partition, None)
            self._unpositioned.discard(partition.partition)
        self._owned(set(self._positions))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        shards = {partition.partition for partition in assigned}
        self._unpositioned |= shards
        # Held until their offset is read from Postgres: Kafka's own committed offsets are never used.
        for shard in shards:
            self._consumer.seek(TopicPartition(self._topic, shard), 0)
            self._consumer.pause(TopicPartition(self._topic, shard))
        self._owned(shards)

    async def _seek_unpositioned(self) -> None:
        for shard in sorted(self._unpositioned - self._poisoned):
            try:
                next_offset, _ = await self._settler.position(shard)
            except POSTGRES_FAILURES as error:
                logger.warning("shard %d: its position cannot be read: %r", shard, error)
                await asyncio.sleep(_AGAIN_S)
                return
            partition = TopicPartition(self._topic, shard)
            if partition not in self._consumer.assignment():
                continue
            self._positions[shard] = next_offset
            self._unpositioned.discard(shard)
            self._consumer.seek(partition, next_offset)
            self._consumer.resume(partition)

    async def _settle(self, shard: int, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        position = self._positions.get(shard)
        if position is None or shard in self._unpositioned:
            return
        records = [record for record in records if record.offset >= position]
        if records and records[0].offset != position:
            raise LogGapError(f"shard {shard} is settled up to {position}, the log goes on at {records[0].offset}")
        logged = self._decode(shard, records)
        if not logged:
            return
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_SETTLE_TIMEOUT_S):
                settled = await self._settler.settle(shard, logged, position)
        except (PositionLostError, *POSTGRES_FAILURES) as error:
            # Done or not done: the position in Postgres tells. Read on from there.
            logger.warning("shard %d: settling from %d: %r", shard, position, error)
            self._hold(shard)
            await asyncio.sleep(_AGAIN_S)
            return
        metrics.SETTLE_SECONDS.observe(time.perf_counter() - began)
        self._positions[shard] = settled.next_offset
        metrics.SHARD_NEXT_OFFSET.labels(shard).set(settled.next_offset)
        for record in settled.settlement.records:
            metrics.SETTLED_EVENTS.labels("applied").inc(record.applied)
            metrics.SETTLED_EVENTS.labels("repeated").inc(record.repeated)
            metrics.SETTLED_EVENTS.labels("ignored").inc(record.ignored)
        for letter in settled.settlement.dead_letters:
            metrics.DEAD_LETTERS.inc()
            logger.error(
                "shard %d offset %d item %d set aside: %s", shard, letter.kafka_offset, letter.item, letter.reason
            )

    def _decode(self, shard: int, records: Sequence[ConsumerRecord[bytes, bytes]]) -> list[LogRecord]:
        """The records up to the first that cannot be decoded; from there on the shard is held."""
        logged: list[LogRecord] = []
        for record in records:
            raw = record.value or b""
            try:
                logged.append(LogRecord(record.offset, raw, decode_record(raw)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                logger.error("shard %d offset %d cannot be decoded, the shard is held: %r", shard, record.offset, error)
                self._poisoned.add(shard)
                self._hold(shard)
                break
        return logged

    def _hold(self, shard: int) -> None:
        partition = TopicPartition(self._topic, shard)
        if partition in self._consumer.assignment():
            self._unpositioned.add(shard)
            self._consumer.pause(partition)
