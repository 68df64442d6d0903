"""A deployment of its own for a test: the real servers, a database, a topic and a Redis database nobody else uses."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import asyncpg
import redis.asyncio
from msgspec.structs import replace

from ledger.install import install
from ledger.worker import run_ledger
from redpacket.books.database import Books
from redpacket.books.deployment import Keys, read_keys
from redpacket.commit.amounts import Amounts
from redpacket.commit.funds import Funds
from redpacket.commit.lane import Answer
from redpacket.commit.load import Loader
from redpacket.commit.path import CommitPath
from redpacket.events import PacketTerms, TopUpTerms
from redpacket.ids import OperationId, identity_of, parse_id, shard_of
from redpacket.log.producer import LogProducer
from redpacket.log.topic import LogEnds
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient, ShardClosedError
from redpacket.shard.fence import fence_state
from redpacket.shard.reserve import ClaimFound, OperationFound
from redpacket.split import SplitParameters
from redpacket.stack.keys import ensure_keys
from redpacket.stack.local import LocalServers

LONG_S = 60.0

# Redis has 16; who takes one empties it.
_redis_databases = cycle(range(1, 16))


@dataclass
class Worker:
    """What an API worker has without its HTTP."""

    client: ShardClient
    books: Books
    producer: LogProducer
    amounts: Amounts
    loader: Loader
    path: CommitPath


@dataclass
class Deployment:
    settings: Settings
    servers: LocalServers
    topic: str
    keys: Keys

    def shard_of(self, owner: str) -> int:
        return shard_of(owner, self.settings.shards)

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[None]:
        """A ledger worker in this process, with every shard open before the body runs."""
        stop = asyncio.Event()
        # A group: a worker that ends by itself ends the test, which would otherwise wait for what never comes.
        async with asyncio.TaskGroup() as group:
            group.create_task(run_ledger(self.settings, stop))
            try:
                await self.wait_open()
                yield
            finally:
                stop.set()

    async def wait_open(self) -> None:
        client = ShardClient(self.settings)
        try:
            async with asyncio.timeout(LONG_S):
                for shard in range(self.settings.shards):
                    while not await _is_open(client, shard):
                        await asyncio.sleep(0.05)
        finally:
            await client.aclose()

    @asynccontextmanager
    async def worker(self, **changed: int | str) -> AsyncIterator[Worker]:
        settings = replace(self.settings, **changed)
        async with AsyncExitStack() as resources:
            client = ShardClient(settings)
            resources.push_async_callback(client.aclose)
            await client.load_library()
            books = Books(settings)
            await books.start()
            resources.push_async_callback(books.aclose)
            producer = LogProducer(settings, self.topic)
            await producer.start()
            resources.push_async_callback(producer.stop)
            ends = LogEnds(settings, self.topic)
            await ends.start()
            resources.push_async_callback(ends.stop)
            amounts = Amounts(self.keys.split_key)
            loader = Loader(client, books)
            resources.push_async_callback(loader.aclose)
            funds = Funds(books, ends)
            resources.push_async_callback(funds.aclose)
            path = CommitPath(settings, client, producer, amounts, loader, funds)
            resources.push_async_callback(path.aclose)
            yield Worker(client, books, producer, amounts, loader, path)

    async def top_up(self, worker: Worker, owner: str, amount_minor: int, key: str | None = None) -> Answer:
        shard = self.shard_of("boss")
        identity = identity_of(self.keys.id_key, "boss", key or secrets.token_hex(8))
        terms = TopUpTerms("boss", owner, self.settings.currency, amount_minor)
        return await worker.path.reserve_operation(shard, identity, None, amount_minor, terms)

    async def send(self, worker: Worker, owner: str, total_minor: int, shares: int, key: str | None = None) -> Answer:
        identity = identity_of(self.keys.id_key, owner, key or secrets.token_hex(8))
        split = SplitParameters("lucky", total_minor, shares, total_minor, 1)
        terms = PacketTerms(owner, self.settings.currency, split, "Happy New Year", 86_400)
        return await worker.path.reserve_operation(self.shard_of(owner), identity, owner, total_minor, terms)

    async def sent(self, worker: Worker, owner: str, total_minor: int, shares: int) -> OperationId:
        """A packet, paid for by a top-up of just its total."""
        found(await self.top_up(worker, owner, total_minor))
        return packet_of(await self.send(worker, owner, total_minor, shares))

    async def amount_of(self, worker: Worker, packet: OperationId, claim: ClaimFound) -> int:
        return (await worker.amounts.of_packet(str(packet), claim.split))[claim.share - 1]

    async def settled(self, worker: Worker) -> None:
        """Waits until the ledger has all that Kafka has now."""
        ends = LogEnds(self.settings, self.topic)
        await ends.start()
        try:
            wanted = await ends.read()
            async with asyncio.timeout(LONG_S):
                while True:
                    rows = await self.rows("SELECT next_offset FROM shard ORDER BY shard")
                    if all(row["next_offset"] >= end for row, end in zip(rows, wanted, strict=True)):
                        return
                    await asyncio.sleep(0.02)
        finally:
            await ends.stop()

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.settings.postgres_url)
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[redis.asyncio.Redis]:
        """The server itself, for what is done to it."""
        async with redis.asyncio.Redis.from_url(self.settings.redis_url) as connection:
            yield connection

    async def flush_redis(self) -> None:
        """Redis loses all it has. FLUSHDB: other tests have databases of their own on the same server."""
        async with self.redis() as connection:
            await connection.flushdb()


@asynccontextmanager
async def installed(servers: LocalServers, keys_dir: Path, shards: int = 4) -> AsyncIterator[Deployment]:
    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(servers.postgres_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    ensure_keys(keys_dir)
    settings = Settings(
        postgres_url=servers.postgres_url.rsplit("/", 1)[0] + f"/{name}",
        redis_url=f"{servers.redis_url.rsplit('/', 1)[0]}/{next(_redis_databases)}",
        kafka_bootstrap=servers.kafka_bootstrap,
        keys_dir=str(keys_dir),
        shards=shards,
    )
    deployment = await install(settings, lambda _: None)
    made = Deployment(settings, servers, deployment.topic, read_keys(settings))
    await made.flush_redis()
    yield made


def found(answer: Answer) -> OperationFound:
    assert isinstance(answer.result, OperationFound), answer
    return answer.result


def claimed(answer: Answer) -> ClaimFound:
    assert isinstance(answer.result, ClaimFound), answer
    return answer.result


def packet_of(answer: Answer) -> OperationId:
    packet = parse_id(found(answer).id)
    assert packet is not None
    return packet


async def _is_open(client: ShardClient, shard: int) -> bool:
    try:
        return (await fence_state(client, shard)).open
    except ShardClosedError:
        return False
