"""Redis with other data than it had: none, older, or that of an older copy. And a log that holds everything twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis.exceptions import RedisError

from redpacket.log.connect import kafka_access
from redpacket.settings import Settings
from redpacket.stack.logs import Log
from redpacket.stack.ports import free_ports
from redpacket.stack.redis import Redis
from tests.faults.processes import kill
from tests.system import System

_WAIT_S = 30.0
# How much older the older data is.
_OLDER_S = 3.0


async def flush_redis(system: System) -> None:
    """The same process without its data, and with its functions and its replid."""
    async with _connected(system.settings.redis_url) as connection:
        await connection.flushall()


async def replace_redis_by_an_older_one(system: System) -> None:
    """A process that begins with the data of some seconds ago. One that is merely killed begins empty, since it keeps
    nothing: to be replaced by an empty one is the same thing."""
    dump = system.data / "redis" / "dump.rdb"
    async with _connected(system.settings.redis_url) as connection:
        await connection.save()
    await asyncio.sleep(_OLDER_S)
    before = system.pid_of("redis")
    kill(system, "redis")
    try:
        await _wait_other(system, before)
    finally:
        dump.unlink()


async def promote_an_older_copy(system: System, folder: Path) -> None:
    """The server becomes the replica of a copy that has fallen behind, takes over its data, and is promoted again: it
    keeps its process and its run_id."""
    async with _copy(folder) as copy_url, _connected(copy_url) as copy, _connected(system.settings.redis_url) as own:
        for server in (copy, own):
            await server.config_set("repl-diskless-sync-delay", 0)
        await copy.replicaof("127.0.0.1", str(await _listening(own)))
        await _wait_linked(copy)
        await copy.replicaof("NO", "ONE")
        await asyncio.sleep(_OLDER_S)
        await own.replicaof("127.0.0.1", str(await _listening(copy)))
        try:
            await _wait_linked(own)
        finally:
            await own.replicaof("NO", "ONE")
            await own.config_set("port", 0)


async def log_everything_again(system: System) -> None:
    """Every record that the log has, to the same partition once more."""
    (row,) = await system.rows("SELECT topic FROM deployment")
    records = await read_log(system.settings, row["topic"])
    async with AIOKafkaProducer(**kafka_access(system.settings), acks="all", enable_idempotence=False) as producer:
        async with asyncio.timeout(2 * _WAIT_S):
            sent = [
                await producer.send(row["topic"], value, partition=shard)
                for shard, values in records.items()
                for value in values
            ]
            await asyncio.gather(*sent)


async def read_log(settings: Settings, topic: str) -> dict[int, list[bytes]]:
    """By shard, the bytes of every record that the log has now."""
    partitions = [TopicPartition(topic, shard) for shard in range(settings.shards)]
    records: dict[int, list[bytes]] = {shard: [] for shard in range(settings.shards)}
    async with AIOKafkaConsumer(**kafka_access(settings), enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        async with asyncio.timeout(2 * _WAIT_S):
            while any(len(records[partition.partition]) < end for partition, end in ends.items()):
                for partition, polled in (await consumer.getmany(timeout_ms=200)).items():
                    records[partition.partition] += [record.value or b"" for record in polled]
    return records


@asynccontextmanager
async def _copy(folder: Path) -> AsyncIterator[str]:
    """Another Redis, by its URL."""
    server = Redis(folder, folder)
    await server.prepare(Log(folder / "log"), lambda _: None)
    process = await asyncio.create_subprocess_exec(*server.program().argv, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield server.url
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(url, socket_timeout=_WAIT_S) as connection:
        async with asyncio.timeout(_WAIT_S):
            while True:
                try:
                    await connection.ping()
                    break
                except RedisError:
                    await asyncio.sleep(0.05)
        yield connection


async def _wait_other(system: System, before: int) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not any(it.name == "redis" and it.state == "ready" and it.pid != before for it in system.state.children):
            await asyncio.sleep(0.05)


async def _wait_linked(replica: "redis.asyncio.Redis") -> None:
    async with asyncio.timeout(_WAIT_S):
        while (await replica.info("replication"))["master_link_status"] != "up":
            await asyncio.sleep(0.05)


async def _listening(server: "redis.asyncio.Redis") -> int:
    """On TCP, too, from now on: a copy has no other way to it."""
    (port,) = free_ports(1)
    await server.config_set("port", port)
    return port
