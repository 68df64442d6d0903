"""Reads the log as it is: the bytes of a partition, from one offset to another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from ledger.audit.findings import AuditError
from redpacket.log.connect import kafka_access
from redpacket.log.patience import make_patient
from redpacket.log.stop import stop_within
from redpacket.settings import Settings

# Kafka does not give more at once than its own bound in bytes, some MiB.
_RECORDS_AT_ONCE = 500
_STILL_S = 30.0
# A fetch that is on its way for one partition keeps the next from being fetched. All that is read is there already.
_FETCH_WAITS_MS = 10
_STOP_S = 2.0


class LoggedBytes(Struct, frozen=True):
    """`at_ms`: when it was written, by who wrote it."""

    kafka_offset: int
    raw: bytes
    at_ms: int = 0


class AuditLog:
    """The partitions of one topic, read without any group. Made by `reading_log`."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, shards: int) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partitions = [TopicPartition(topic, shard) for shard in range(shards)]

    async def begins(self) -> list[int]:
        """By shard, the lowest offset that is still there."""
        async with _patient("asking where the log begins"):
            begins = await self._consumer.beginning_offsets(self._partitions)
        return [begins[partition] for partition in self._partitions]

    async def ends(self) -> list[int]:
        """By shard, the offset that the next record will get."""
        async with _patient("asking where the log ends"):
            ends = await self._consumer.end_offsets(self._partitions)
        return [ends[partition] for partition in self._partitions]

    async def offsets_at(self, at: datetime) -> list[int | None]:
        """By shard, the first record that Kafka got at that time or later; None where there is none."""
        at_ms = int(at.timestamp() * 1000)
        async with _patient("asking for the offsets of a time"):
            found = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, at_ms))
        return [None if (it := found[partition]) is None else it.offset for partition in self._partitions]

    async def written_ms(self, shard: int, kafka_offset: int) -> int | None:
        """When this record was written; None where it is not there any more. Not while `read` is under way."""
        if kafka_offset < (await self.begins())[shard]:
            return None
        async for chunk in self.read(shard, kafka_offset, kafka_offset + 1):
            return chunk[0].at_ms
        return None

    async def read(self, shard: int, from_offset: int, to_offset: int) -> AsyncIterator[list[LoggedBytes]]:
        """Every record from the one up to before the other, in chunks. Raises AuditError where one is missing, or where
        nothing has come for half a minute."""
        partition = self._partitions[shard]
        self._consumer.assign([partition])
        self._consumer.seek(partition, from_offset)
        position = from_offset
        while position < to_offset:
            async with _patient(f"reading shard {shard} of the log at {position}"):
                got: list[ConsumerRecord[bytes, bytes]] = []
                while not got:
                    fetched = await self._consumer.getmany(partition, timeout_ms=1000, max_records=_RECORDS_AT_ONCE)
                    got = fetched.get(partition, [])
            chunk = [LoggedBytes(it.offset, it.value or b"", it.timestamp) for it in got if it.offset < to_offset]
            for expected, logged in enumerate(chunk, start=position):
                if logged.kafka_offset != expected:
                    raise AuditError(f"shard {shard}: the log has {logged.kafka_offset} where {expected} should be")
            if not chunk:
                raise AuditError(f"shard {shard}: the log has no record {position}")
            position += len(chunk)
            yield chunk


@asynccontextmanager
async def reading_log(settings: Settings, topic: str) -> AsyncIterator[AuditLog]:
    """Raises AuditError, here and from every call: Kafka is away."""
    consumer = AIOKafkaConsumer(
        **kafka_access(settings),
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=_FETCH_WAITS_MS,
        request_timeout_ms=max(settings.kafka_timeout_ms, 5_000),
    )
    make_patient(consumer)
    try:
        async with _patient("connecting"):
            await consumer.start()
        # A consumer stopped before its own tasks took their first step is stopped by half (aiokafka 0.14).
        await asyncio.sleep(0)
        yield AuditLog(consumer, topic, settings.shards)
    finally:
        await stop_within(_STOP_S, consumer.stop())


@asynccontextmanager
async def _patient(doing: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_STILL_S):
            yield
    except (KafkaError, TimeoutError) as error:
        raise AuditError(f"kafka: {doing}: {error!r}") from error
