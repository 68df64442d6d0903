"""The floor of Kafka: the records of the run, read by a bare consumer and appended to another topic by a bare producer,
as many at a time as there are shards, as the API does."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from loadtest.cpu import cpu_of_parts, spent_since
from loadtest.ledger import Ledger
from loadtest.stack import Stack
from redpacket.log.connect import kafka_access
from redpacket.log.record import Batch, decode_record
from redpacket.log.topic import create_topic
from redpacket.settings import Settings

_LIMIT_S = 60.0
# Read and written again at most, from the first on.
_RECORDS = 4_000
_TOPIC = "bench-floor"


async def make_topic(stack: Stack) -> None:
    """Long before it is used: a broker takes a while to lead all partitions."""
    await create_topic(stack.settings, _TOPIC)


async def measure_records(stack: Stack, ledger: Ledger, begins: Sequence[int], ends: Sequence[int]) -> dict[str, float]:
    """Seconds of CPU a claim: of the producer (api), of the consumer (ledger) and of Kafka. `begins` and `ends`: by
    shard, the run's part of the log."""
    kafka = {"kafka": stack.pids()["kafka"]}
    async with asyncio.timeout(_LIMIT_S):
        before, before_s = cpu_of_parts(kafka), time.process_time()
        records = await _read(stack.settings, ledger.topic, begins, ends)
        read_s = time.process_time()
        await _append(stack.settings, records)
        api_s, spent = time.process_time() - read_s, spent_since(before, cpu_of_parts(kafka))
    claims = sum(_claims_in(value) for of_shard in records for value in of_shard)
    return {part: seconds / claims for part, seconds in ({"api": api_s, "ledger": read_s - before_s} | spent).items()}


async def _read(settings: Settings, topic: str, begins: Sequence[int], ends: Sequence[int]) -> list[list[bytes]]:
    """By shard, what was written between; the same part of every shard."""
    share = min(1.0, _RECORDS / max(1, sum(ends) - sum(begins)))
    until = [begin + round((end - begin) * share) for begin, end in zip(begins, ends, strict=True)]
    consumer = AIOKafkaConsumer(**kafka_access(settings), enable_auto_commit=False, auto_offset_reset="none")
    await consumer.start()
    try:
        wanted = {TopicPartition(topic, shard): end for shard, end in enumerate(until) if end > begins[shard]}
        consumer.assign(list(wanted))
        for partition in wanted:
            consumer.seek(partition, begins[partition.partition])
        records: list[list[bytes]] = [[] for _ in until]
        while any(len(records[it.partition]) < end - begins[it.partition] for it, end in wanted.items()):
            for partition, read in (await consumer.getmany(timeout_ms=200)).items():
                records[partition.partition] += [it.value or b"" for it in read if it.offset < wanted[partition]]
        return records
    finally:
        await consumer.stop()


async def _append(settings: Settings, records: Sequence[Sequence[bytes]]) -> None:
    producer = AIOKafkaProducer(**kafka_access(settings), acks="all", enable_idempotence=False)
    await producer.start()

    async def append_all(shard: int) -> None:
        for value in records[shard]:
            await producer.send_and_wait(_TOPIC, value, partition=shard)

    try:
        async with asyncio.TaskGroup() as group:
            for shard in range(len(records)):
                group.create_task(append_all(shard))
    finally:
        await producer.stop()


def _claims_in(value: bytes) -> int:
    record = decode_record(value)
    return len(record.events) if isinstance(record, Batch) else 0
