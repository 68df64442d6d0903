"""Looks up records in the log, without a group: nobody's position moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from ledger.trace.story import LogPlace
from redpacket.events import Event
from redpacket.log.connect import kafka_access
from redpacket.log.patience import make_patient
from redpacket.log.producer import LogUnavailableError
from redpacket.log.record import UNDECODABLE, Batch, decode_record
from redpacket.log.stop import stop_within
from redpacket.settings import Settings

# Of one look-up, whatever it has to read.
_LOOK_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 2.0


class LogReader:
    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    async def item_at(self, shard: int, kafka_offset: int, item: int) -> LogPlace:
        """Without an event where the log does not keep that record any more. Raises LogUnavailableError."""
        try:
            async with _asking():
                partition = self._seek(shard, kafka_offset)
                record = await self._consumer.getone(partition)
        except OffsetOutOfRangeError:
            return LogPlace(shard, kafka_offset, item, 0, 0, None)
        batch = _batch(record.value or b"") if record.offset == kafka_offset else None
        if batch is None or item >= len(batch.events):
            return LogPlace(shard, kafka_offset, item, 0, 0, None)
        return LogPlace(shard, kafka_offset, item, batch.epoch, batch.entry, batch.events[item])

    async def find_from(self, shard: int, kafka_offset: int, operation: str, owner: str | None) -> LogPlace | None:
        """The first item from `kafka_offset` on that names the operation, and the owner of a claim where one is given;
        None where there is none up to the log's end. Raises LogUnavailableError."""
        async with _asking():
            partition = self._seek(shard, kafka_offset)
            end = (await self._consumer.end_offsets([partition]))[partition]
            while await self._consumer.position(partition) < end:
                record = await self._consumer.getone(partition)
                batch = _batch(record.value or b"")
                for item, event in enumerate(batch.events if batch else ()):
                    if _names(event, operation, owner):
                        assert batch is not None
                        return LogPlace(shard, record.offset, item, batch.epoch, batch.entry, event)
        return None

    def _seek(self, shard: int, kafka_offset: int) -> TopicPartition:
        partition = TopicPartition(self._topic, shard)
        self._consumer.assign([partition])
        self._consumer.seek(partition, kafka_offset)
        return partition


@asynccontextmanager
async def reading_log(settings: Settings, topic: str) -> AsyncIterator[LogReader]:
    """Raises LogUnavailableError."""
    consumer = AIOKafkaConsumer(
        **kafka_access(settings),
        request_timeout_ms=settings.kafka_timeout_ms,
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    make_patient(consumer)
    try:
        async with _asking():
            await consumer.start()
        yield LogReader(consumer, topic)
    finally:
        await stop_within(_STOP_TIMEOUT_S, consumer.stop())


@asynccontextmanager
async def _asking() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LOOK_TIMEOUT_S):
            yield
    except OffsetOutOfRangeError:
        raise
    except (KafkaError, TimeoutError) as error:
        raise LogUnavailableError(f"the log cannot be read: {error!r}") from error


def _batch(raw: bytes) -> Batch | None:
    """None for a fence, and for what nobody can decode."""
    try:
        record = decode_record(raw)
    except UNDECODABLE:
        return None
    return record if isinstance(record, Batch) else None


def _names(event: Event, operation: str, owner: str | None) -> bool:
    named = getattr(event, "packet", None) or getattr(event, "id", None)
    return named == operation and (owner is None or getattr(event, "owner", None) == owner)
