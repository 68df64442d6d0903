"""The producer: one record to the partition of its shard, acknowledged by all replicas in sync, in bounded time."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from redpacket.log.connect import kafka_access
from redpacket.log.patience import make_patient
from redpacket.log.record import Record, encode_record
from redpacket.log.stop import stop_within
from redpacket.settings import Settings


class LogUnavailableError(Exception):
    """Kafka did not acknowledge in time. Whether it has the record is unknown; to append it again is harmless."""


class LogProducer:
    """Appends records to one topic. Close it with `stop`."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        self._timeout_s = settings.kafka_timeout_ms / 1000
        # No idempotence on purpose: repeats are harmless and order does not matter here, while with it a batch that
        # expires leaves a gap in the sequence that only a restart mends, and `stop` hangs without a broker.
        self._producer = AIOKafkaProducer(
            **kafka_access(settings),
            acks="all",
            enable_idempotence=False,
            request_timeout_ms=settings.kafka_timeout_ms,
        )
        make_patient(self._producer)

    async def start(self) -> None:
        """Raises LogUnavailableError."""
        try:
            await self._producer.start()
        except KafkaError as error:
            await self.stop()
            raise LogUnavailableError(f"kafka does not answer: {error!r}") from error

    async def stop(self) -> None:
        # What is not acknowledged by then is still in an outbox, and is published again from there.
        await stop_within(self._timeout_s, self._producer.stop())

    async def append(self, shard: int, record: Record) -> int:
        """The record's offset, once acknowledged. Raises LogUnavailableError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                sent = await self._producer.send(self._topic, encode_record(record), partition=shard)
                # It may fail after everyone has left; then nobody else asks for the exception.
                sent.add_done_callback(lambda done: done.cancelled() or done.exception())
                # Shielded: aiokafka owns this future, and it may be in a batch with others.
                metadata = await asyncio.shield(sent)
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailableError(f"shard {shard}: {error!r}") from error
        return int(metadata.offset)
