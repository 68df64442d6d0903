"""A deployment of its own for a test: the real servers, a database, a topic and a Redis database nobody else uses."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio
from msgspec.structs import replace

from ledger.install import install
from ledger.worker import run_ledger
from redpacket.books.database import Books
from redpacket.books.deployment import Keys, read_keys
from redpacket.commit.amounts import Amounts
from redpacket.commit.lane import Answer
from redpacket.commit.load import Loader
from redpacket.commit.parts import start_parts
from redpacket.commit.path import CommitPath
from redpacket.events import PacketTerms, TopUpTerms
from redpacket.ids import OperationId, identity_of, parse_id, shard_of
from redpacket.log.producer import LogProducer, LogUnavailableError
from redpacket.log.topic import LogEnds
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient, ShardClosedError
from redpacket.shard.fence import fence_state
from redpacket.shard.reserve import (
    ClaimFound,
    ClaimItem,
    OperationFound,
    OutboxLimits,
    PacketOver,
    Reserved,
    reserve,
)
from redpacket.split import SplitParameters
from redpacket.stack.keys import ensure_keys
from redpacket.stack.local import LocalServers
from redpacket.stack.roles import WORKER

LONG_S = 60.0
LIMITS = OutboxLimits(256, 3_000)

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
    async def ledger(self, **changed: int) -> AsyncIterator[None]:
        """A ledger worker in this process, with every shard open before the body runs."""
        stop = asyncio.Event()
        # A group: a worker that ends by itself ends the test, which would otherwise wait for what never comes.
        async with asyncio.TaskGroup() as group:
            group.create_task(run_ledger(replace(self.settings, **changed), stop))
            try:
                await self.wait_open()
                yield
            finally:
                stop.set()

    async def wait_open(self) -> None:
        """Waits until every shard is open, under an epoch that the ledger has not shut."""
        client = ShardClient(self.settings)
        try:
            async with asyncio.timeout(LONG_S):
                rows = await self.rows("SELECT shard, greatest(epoch_shut, epoch_fenced - 1) AS shut FROM shard")
                shut = {row["shard"]: row["shut"] for row in rows}
                for shard in range(self.settings.shards):
                    while not await _is_open(client, shard, shut[shard]):
                        await asyncio.sleep(0.05)
        finally:
            await client.aclose()

    @asynccontextmanager
    async def worker(self, **changed: int | str) -> AsyncIterator[Worker]:
        settings = replace(self.settings, **changed)
        async with AsyncExitStack() as resources:
            books = Books(settings)
            await books.start()
            resources.push_async_callback(books.aclose)
            parts = await start_parts(resources, settings, self.keys, self.topic, books)
            await parts.client.load_library()
            yield Worker(parts.client, books, parts.producer, parts.amounts, parts.loader, parts.path)

    async def top_up(self, worker: Worker, owner: str, amount_minor: int, key: str | None = None) -> Answer:
        shard = self.shard_of("boss")
        identity = identity_of(self.keys.id_key, "boss", key or secrets.token_hex(8))
        terms = TopUpTerms("boss", owner, self.settings.currency, amount_minor)
        return await worker.path.reserve_operation(shard, identity, None, amount_minor, terms)

    async def send(
        self,
        worker: Worker,
        owner: str,
        total_minor: int,
        shares: int,
        key: str | None = None,
        expires_in_s: int = 86_400,
    ) -> Answer:
        identity = identity_of(self.keys.id_key, owner, key or secrets.token_hex(8))
        split = SplitParameters("lucky", total_minor, shares, total_minor, 1)
        terms = PacketTerms(owner, self.settings.currency, split, "Happy New Year", expires_in_s)
        return await worker.path.reserve_operation(self.shard_of(owner), identity, owner, total_minor, terms)

    async def sent(
        self, worker: Worker, owner: str, total_minor: int, shares: int, expires_in_s: int = 86_400
    ) -> OperationId:
        """A packet, paid for by a top-up of just its total."""
        found(await self.top_up(worker, owner, total_minor))
        return packet_of(await self.send(worker, owner, total_minor, shares, expires_in_s=expires_in_s))

    async def amount_of(self, worker: Worker, packet: OperationId, claim: ClaimFound) -> int:
        return (await worker.amounts.of_packet(str(packet), claim.split))[claim.share - 1]

    async def settled(self, worker: Worker) -> None:
        """Waits until the ledger has all that Kafka has now."""
        ends = LogEnds(self.settings, self.topic)
        await ends.start()
        try:
            async with asyncio.timeout(LONG_S):
                wanted = await _read_when_led(ends)
                while True:
                    rows = await self.rows("SELECT next_offset FROM shard ORDER BY shard")
                    if all(row["next_offset"] >= end for row, end in zip(rows, wanted, strict=True)):
                        return
                    await asyncio.sleep(0.02)
        finally:
            await ends.stop()

    async def balances(self, owner: str) -> tuple[int, int]:
        """What the ledger says that is in the owner's wallet, and in his escrow."""
        rows = await self.rows(
            "SELECT kind, credits_minor - debits_minor AS minor FROM account WHERE owner = $1", owner
        )
        minor = {row["kind"]: row["minor"] for row in rows}
        return minor.get("wallet", 0), minor.get("escrow", 0)

    async def reserve_only(self, worker: Worker, packet: OperationId, *owners: str) -> int:
        """Reserves claims as a worker that is killed right after it: nothing is published. The first one's share."""
        items = [ClaimItem(packet.identity, str(packet), 0, owner) for owner in owners]
        reply, entry = await reserve(worker.client, packet.shard, LIMITS, [], items)
        assert entry is not None
        first = reply.results[0]
        assert isinstance(first, Reserved), first
        return first.share

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
    await create_database(servers.postgres.superuser_url, name)
    ensure_keys(keys_dir)
    settings = Settings(
        postgres_url=database_url(servers.postgres_url, name),
        redis_url=f"{servers.redis_url.removesuffix('=0')}={next(_redis_databases)}",
        kafka_bootstrap=servers.kafka_bootstrap,
        kafka_user=servers.kafka_user,
        kafka_password=servers.kafka_password,
        keys_dir=str(keys_dir),
        shards=shards,
    )
    deployment = await install(settings, lambda _: None)
    made = Deployment(settings, servers, deployment.topic, read_keys(settings))
    await made.flush_redis()
    yield made


async def create_database(superuser_url: str, name: str, of: str = "template1") -> None:
    """A copy of the database `of`, for the role that all processes have."""
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {of} OWNER {WORKER}")
    finally:
        await connection.close()


def database_url(url: str, name: str) -> str:
    """As `url`, to another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def found(answer: Answer) -> OperationFound:
    assert isinstance(answer.result, OperationFound), answer
    return answer.result


def claimed(answer: Answer) -> ClaimFound:
    assert isinstance(answer.result, ClaimFound), answer
    return answer.result


def over(answer: Answer) -> PacketOver:
    assert isinstance(answer.result, PacketOver), answer
    return answer.result


def packet_of(answer: Answer) -> OperationId:
    packet = parse_id(found(answer).id)
    assert packet is not None
    return packet


async def _read_when_led(ends: LogEnds) -> list[int]:
    """A broker that has just come back leads its partitions one after the other."""
    while True:
        try:
            return await ends.read()
        except LogUnavailableError:
            await asyncio.sleep(0.1)


async def _is_open(client: ShardClient, shard: int, epoch_shut: int) -> bool:
    try:
        state = await fence_state(client, shard)
        return state.open and state.epoch > epoch_shut
    except ShardClosedError:
        return False
