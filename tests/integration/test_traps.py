"""The known traps in the parts that are used here, each against the real server: closed, and noticed if it opens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec import structs

from ledger import watch
from ledger.consume import LedgerConsumer
from ledger.records import decode
from ledger.settle.transaction import Settler
from ledger.watch import ConsumerStuckError
from redpacket.books.database import Books, BooksUnavailableError
from redpacket.events import PacketTerms, ShareClaimed
from redpacket.ids import OperationId, identity_of, shard_of
from redpacket.log.connect import kafka_access
from redpacket.log.producer import LogProducer, LogUnavailableError
from redpacket.log.record import Batch, Fence, Record, decode_record, encode_record
from redpacket.shard import client as shard_client
from redpacket.shard.client import ShardClosedError, ShardUnreachableError
from redpacket.shard.fence import close_shard, fence_state
from redpacket.shard.load import Installed, load_wallet
from redpacket.shard.outbox import Confirm, confirm
from redpacket.shard.reserve import ClaimItem, OperationItem, Refused, Reserved, Short, packet_part, reserve
from redpacket.split import SplitParameters
from service.problems import Code, ProblemError
from service.reading import PacketReader
from tests.deployment import LIMITS, LONG_S, Deployment, Worker, claimed, found
from tests.proxy import Direction, proxied

_TOPICS_OWN = 1  # where a setting comes from
_JOIN_GROUP = (11).to_bytes(2)  # the key of a request, behind its length
# Longer than a test may take: what ends before it was not ended by it.
NEVER_MS = 600_000
# Ample for what does not wait, and half of what redis-py would wait for a connection.
SHORT_S = 10.0


async def _rejected(call: Awaitable[Any], *errors: type[Exception]) -> None:
    """It fails, and before the test does."""
    async with asyncio.timeout(LONG_S):
        with pytest.raises(errors):
            await call


async def _claims(deployment: Deployment, packet: OperationId) -> list[tuple[str, int]]:
    rows = await deployment.rows("SELECT owner, share FROM claim WHERE packet = $1", str(packet))
    return [(row["owner"], row["share"]) for row in rows]


# redis-py


@pytest.mark.parametrize("cut", [False, True])
async def test_a_call_whose_answer_is_lost_is_carried_out_once_and_its_outcome_is_unknown(
    deployment: Deployment, cut: bool
) -> None:
    async with (
        deployment.ledger(),
        proxied(deployment, "redis") as (proxy, there),
        deployment.worker(**there, redis_timeout_ms=800) as worker,
    ):
        packet = await deployment.sent(worker, "alice", 1_000, 20)
        before = proxy.requests.count(b"reserve_")
        if cut:
            proxy.fatal = b"reserve_"
        else:
            proxy.losing = {"answers"}
        await _rejected(worker.path.claim_share(packet, "bob"), ShardUnreachableError)
        assert proxy.requests.count(b"reserve_") == before + 1
        proxy.losing = set()
        assert claimed(await worker.path.claim_share(packet, "bob")).share == 1
        await deployment.settled(worker)
        assert await _claims(deployment, packet) == [("bob", 1)]


async def test_when_all_connections_to_redis_are_taken_the_next_call_does_not_wait_for_one(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_client, "REDIS_CONNECTIONS", 3)
    async with (
        proxied(deployment, "redis") as (proxy, there),
        deployment.worker(**there, redis_timeout_ms=NEVER_MS) as worker,
    ):
        async with proxy.answers_held():
            hanging = [asyncio.create_task(fence_state(worker.client, 0)) for _ in range(3)]
            await asyncio.sleep(0)
            async with asyncio.timeout(SHORT_S):
                await _rejected(fence_state(worker.client, 0), ShardUnreachableError)
            assert not any(task.done() for task in hanging)
        async with asyncio.timeout(LONG_S):
            assert [(await task).epoch for task in hanging] == [0, 0, 0]


async def test_an_answer_that_comes_after_its_caller_has_left_is_nobody_elses(deployment: Deployment) -> None:
    async with (
        deployment.ledger(),
        proxied(deployment, "redis") as (proxy, there),
        deployment.worker(**there) as worker,
    ):
        epochs = [(await fence_state(worker.client, shard)).epoch for shard in range(deployment.settings.shards)]
        assert await load_wallet(worker.client, 0, 2**40, "alice", 1, 0) is Installed.LOADED

        def ask() -> list[asyncio.Task[Installed]]:
            return [asyncio.create_task(load_wallet(worker.client, 0, 2**40, "alice", 1, 0)) for _ in range(20)]

        await asyncio.gather(*ask())  # from here on there are as many connections
        asked = proxy.requests.count(b"load_wallet_")
        async with proxy.answers_held(), asyncio.timeout(LONG_S):
            leaving = ask()
            while proxy.requests.count(b"load_wallet_") < asked + len(leaving):
                await asyncio.sleep(0.01)
            for task in leaving:
                task.cancel()
            await asyncio.wait(leaving)
        for _ in range(30):
            for shard, epoch in enumerate(epochs):
                assert (await fence_state(worker.client, shard)).epoch == epoch


async def test_a_call_that_is_cancelled_at_any_moment_ends_cancelled(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        await fence_state(worker.client, 0)
        for steps in range(100):
            call = asyncio.create_task(fence_state(worker.client, 0))
            for _ in range(steps):
                await asyncio.sleep(0)
            if call.cancel():  # it was not done yet
                await asyncio.wait([call])
                assert call.cancelled(), f"{steps} steps after its start"


# aiokafka


async def test_a_producer_forgets_what_it_has_given_up_and_goes_on_by_itself_when_the_broker_is_back(
    deployment: Deployment,
) -> None:
    async with (
        proxied(deployment, "kafka") as (proxy, there),
        deployment.worker(**there, kafka_timeout_ms=1_000) as worker,
    ):
        await worker.producer.append(0, Fence(1))
        async with proxy.away():
            for _ in range(2):
                await _rejected(worker.producer.append(0, Fence(7)), LogUnavailableError)
            await asyncio.sleep(1.5)  # aiokafka looks at the age of a batch when it tries again
        async with asyncio.timeout(LONG_S):
            while not await _appended(worker.producer):
                await asyncio.sleep(0.05)
        assert [await _appended(worker.producer) for _ in range(20)] == [True] * 20
        # With idempotence on it would hold them for ever, in front of all that comes after.
        assert Fence(7) not in await _log(deployment, 0)


async def _log(deployment: Deployment, shard: int) -> list[Record]:
    consumer = AIOKafkaConsumer(**kafka_access(deployment.settings), enable_auto_commit=False)
    partition = TopicPartition(deployment.topic, shard)
    records: list[Record] = []
    await consumer.start()
    try:
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.assign([partition])
        consumer.seek(partition, 0)
        async with asyncio.timeout(LONG_S):
            while len(records) < end:
                polled = await consumer.getmany(partition, timeout_ms=200)
                records += [decode_record(it.value or b"") for it in polled.get(partition, [])]
    finally:
        await consumer.stop()
    return records


async def _appended(producer: LogProducer) -> bool:
    try:
        await producer.append(0, Fence(1))
    except LogUnavailableError:
        return False
    return True


async def test_a_producer_can_be_stopped_while_the_broker_is_away(deployment: Deployment) -> None:
    async with proxied(deployment, "kafka") as (proxy, there):
        settings = structs.replace(deployment.settings, kafka_timeout_ms=1_000, **there)
        producer = LogProducer(settings, deployment.topic)
        await producer.start()
        await producer.append(0, Fence(1))
        async with proxy.away():
            unsent = asyncio.create_task(producer.append(0, Fence(1)))
            await asyncio.sleep(0)
            async with asyncio.timeout(LONG_S):
                await producer.stop()
            await _rejected(unsent, LogUnavailableError)


async def test_kafka_keeps_no_offsets_of_the_ledger(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 10))
        await deployment.settled(worker)
    # By now a consumer that committed by itself would have done so: at the latest when it left.
    admin = AIOKafkaAdminClient(**kafka_access(deployment.settings))
    await admin.start()
    try:
        groups = [name for name, _ in await admin.list_consumer_groups() if name.startswith(deployment.topic)]
        kept = [await admin.list_consumer_group_offsets(group) for group in groups]
    finally:
        await admin.close()
    assert all(offset.offset < 0 for offsets in kept for offset in offsets.values())


async def test_the_topic_keeps_everything_and_is_led_by_nobody_who_lacks_what_was_acknowledged(
    deployment: Deployment,
) -> None:
    admin = AIOKafkaAdminClient(**kafka_access(deployment.settings))
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, deployment.topic)])
        ((*_, entries),) = answer.resources  # type: ignore[attr-defined]
    finally:
        await admin.close()
    # Set on the topic itself, so that no default of the brokers matters.
    own = {name: value for name, value, _, source, *_ in entries if source == _TOPICS_OWN}
    assert own == {
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "min.insync.replicas": "1",
        "unclean.leader.election.enable": "false",
    }


async def test_a_ledger_that_stands_still_while_the_log_goes_on_ends_itself(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployment.worker() as worker, _consuming(deployment) as (consumer, running, _):
        await worker.producer.append(0, Fence(1))
        await deployment.settled(worker)
        monkeypatch.setattr(watch, "_STUCK_AFTER_S", 1.0)
        # As aiokafka was seen to do after a rejoin: it polls, and is given nothing.
        consumer._consumer.pause(*consumer._consumer.assignment())
        await worker.producer.append(0, Fence(2))
        await _rejected(running, ConsumerStuckError)


async def test_a_ledger_that_cannot_rejoin_its_group_ends_itself(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployment.worker() as worker, proxied(deployment, "kafka") as (proxy, there):
        settings = structs.replace(deployment.settings, **there)
        async with _consuming(replace(deployment, settings=settings)) as (_, running, _):
            await worker.producer.append(0, Fence(1))
            await deployment.settled(worker)
            monkeypatch.setattr(watch, "_STUCK_AFTER_S", 1.0)
            # Another member comes, and of what this one sends only its request to join again is lost.
            proxy.deaf_to = lambda request: request[4:6] == _JOIN_GROUP
            other = AIOKafkaConsumer(**kafka_access(deployment.settings), group_id=f"{deployment.topic}.ledger")
            await other.start()
            other.subscribe([deployment.topic])
            await _rejected(running, ConsumerStuckError)
            await other.stop()


async def test_the_ledger_can_be_stopped_while_the_broker_is_away(deployment: Deployment) -> None:
    async with deployment.worker() as worker, proxied(deployment, "kafka") as (proxy, there):
        settings = structs.replace(deployment.settings, **there)
        async with _consuming(replace(deployment, settings=settings)) as (_, running, stop):
            await worker.producer.append(0, Fence(1))
            await deployment.settled(worker)
            async with proxy.away(), asyncio.timeout(LONG_S):
                await asyncio.sleep(1.0)  # by now its fetches fail
                stop.set()
                await running


@asynccontextmanager
async def _consuming(deployment: Deployment) -> AsyncIterator[tuple[LedgerConsumer, asyncio.Task[None], asyncio.Event]]:
    stop = asyncio.Event()
    async with asyncpg.create_pool(deployment.settings.postgres_url, min_size=0, max_size=2) as pool:
        settler = Settler(pool, partial(shard_of, shards=deployment.settings.shards))
        consumer = LedgerConsumer(deployment.settings, deployment.topic, settler, lambda _: None)
        running = asyncio.create_task(consumer.run(stop))
        try:
            yield consumer, running, stop
        finally:
            stop.set()
            await asyncio.wait([running])


# asyncpg


@pytest.mark.parametrize("direction", ["requests", "answers"])
async def test_a_postgres_that_says_nothing_is_unavailable_and_read_again_once_it_speaks(
    deployment: Deployment, direction: Direction
) -> None:
    async with (
        proxied(deployment, "postgres") as (proxy, there),
        deployment.worker(**there, postgres_timeout_ms=300) as worker,
    ):
        await worker.books.rows("settled_up_to")
        proxy.losing = {direction}
        assert await _read_at_once(worker.books) == {BooksUnavailableError}
        proxy.losing = set()
        async with asyncio.timeout(LONG_S):
            while await _read_at_once(worker.books) != {list}:
                await asyncio.sleep(0.05)


async def _read_at_once(books: Books) -> set[type]:
    """What comes of more readings than the pool has connections: some of them have to wait for one."""
    async with asyncio.timeout(LONG_S):
        answers = await asyncio.gather(*(books.rows("settled_up_to") for _ in range(20)), return_exceptions=True)
    return {type(answer) for answer in answers}


async def test_a_commit_whose_answer_is_cut_off_is_settled_once(deployment: Deployment) -> None:
    async with (
        deployment.worker() as worker,
        proxied(deployment, "postgres") as (proxy, there),
        replace(deployment, settings=structs.replace(deployment.settings, **there)).ledger(),
    ):
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        await deployment.settled(worker)
        proxy.fatal = b"COMMIT;"
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        assert not proxy.fatal, "it was not cut"
        claimed(await worker.path.claim_share(packet, "carol"))
        await deployment.settled(worker)
        assert await _claims(deployment, packet) == [("bob", 1), ("carol", 2)]


async def test_without_the_ledger_nothing_is_said_to_be_absent(deployment: Deployment) -> None:
    async with (
        deployment.ledger(),
        proxied(deployment, "postgres") as (proxy, there),
        deployment.worker(**there) as worker,
    ):
        reader = PacketReader(worker.client, worker.loader)
        shard, identity = deployment.shard_of("alice"), identity_of(deployment.keys.id_key, "alice", "k")
        with pytest.raises(ProblemError) as proved:
            await reader.operation(shard, identity)
        assert proved.value.code is Code.NOT_FOUND
        async with proxy.away():
            await _rejected(reader.operation(shard, identity), BooksUnavailableError)


# msgspec


@pytest.mark.parametrize(
    "value",
    [
        b"\x95\xa5Batch\x01\x01\x00" + b"\x91" * 100_000,
        b"\x93\xa5Fence\x01" + b"\x91" * 100_000,
        b"\x92\xa5\xff\xff\xff\xff\xff\x01",
        b"\x95\xa5Batch\x01\x01\x00\x91\x96\xacShareClaimed\xa1\xff\xa1b\x01\x01\x01",
    ],
)
def test_a_record_that_msgspec_stumbles_over_is_one_that_cannot_be_decoded(value: bytes) -> None:
    values = {6: encode_record(Fence(1)), 7: value}
    logged, undecodable = decode([_consumed(offset, value) for offset, value in values.items()])
    assert undecodable is not None
    assert (len(logged), undecodable.offset) == (1, 7)


def _consumed(offset: int, value: bytes) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("topic", 0, offset, 0, 0, None, value, None, 0, 0, ())


# Redis


async def test_an_empty_table_of_functions_is_a_closed_shard_that_opens_again(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        await server.function_flush()
        await _rejected(worker.path.claim_share(packet, "carol"), ShardClosedError)
        await deployment.wait_open()
        assert claimed(await worker.path.claim_share(packet, "bob")) == claim
        claimed(await worker.path.claim_share(packet, "carol"))


@pytest.mark.parametrize("field", ["run_id", "replid"])
async def test_a_fence_that_names_another_process_is_closed_and_opened_under_a_new_epoch(
    deployment: Deployment, field: str
) -> None:
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        before = await fence_state(worker.client, packet.shard)
        # What a copy from another process would hold.
        await server.hset(f"{{rp{packet.shard}}}fence", field, "f" * 40)
        await _rejected(worker.path.claim_share(packet, "carol"), ShardClosedError)
        await deployment.wait_open()
        assert (await fence_state(worker.client, packet.shard)).epoch > before.epoch
        assert claimed(await worker.path.claim_share(packet, "bob")) == claim


@pytest.mark.parametrize("refused", ["set", "rename"])
async def test_an_error_in_the_middle_of_writing_closes_the_shard_and_nothing_is_lost_or_doubled(
    deployment: Deployment, refused: str
) -> None:
    """SET comes in a reserve after the claims were written, RENAME in a load after the packet was."""
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        first = claimed(await worker.path.claim_share(packet, "bob"))
        if refused == "rename":
            await deployment.flush_redis()
            await deployment.wait_open()
        before = await fence_state(worker.client, packet.shard)
        await server.acl_setuser("default", enabled=True, commands=[f"-{refused}"])
        try:
            await _rejected(worker.path.claim_share(packet, "carol"), ShardClosedError)
        finally:
            await server.acl_setuser("default", enabled=True, categories=["+@all"])
        await deployment.wait_open()
        assert (await fence_state(worker.client, packet.shard)).epoch > before.epoch
        assert claimed(await worker.path.claim_share(packet, "bob")) == first
        # What was half written under the old epoch is free again.
        shares = [
            claimed(await worker.path.claim_share(packet, who)).share for who in ("dave", "carol", "eve", "frank")
        ]
        assert sorted([first.share, *shares]) == [1, 2, 3, 4, 5]
        await deployment.settled(worker)
        assert len(await _claims(deployment, packet)) == 5


async def test_a_redis_that_may_forget_by_itself_is_not_opened(deployment: Deployment) -> None:
    async with deployment.worker() as worker, deployment.redis() as server:
        await server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            await _rejected(close_shard(worker.client, 0, 1, "n"), ShardUnreachableError)
            assert (await fence_state(worker.client, 0)).epoch == 0
        finally:
            await server.config_set("maxmemory-policy", "noeviction")
        async with deployment.ledger():
            assert (await fence_state(worker.client, 0)).open


async def test_a_full_redis_refuses_what_is_new_and_confirms_what_is_acknowledged(deployment: Deployment) -> None:
    async with (
        deployment.ledger(),
        proxied(deployment, "kafka") as (proxy, there),
        deployment.worker(**there) as worker,
        deployment.redis() as server,
        asyncio.timeout(LONG_S),
    ):
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        outbox = f"{{rp{packet.shard}}}{(await fence_state(worker.client, packet.shard)).epoch}:outbox"
        limit = (await server.config_get("maxmemory"))["maxmemory"]
        try:
            async with proxy.answers_held():
                reserved = asyncio.create_task(worker.path.claim_share(packet, "bob"))
                while not await server.hlen(outbox):
                    await asyncio.sleep(0.01)
                await server.config_set("maxmemory", "1")
                refused = asyncio.create_task(worker.path.claim_share(packet, "carol"))
                await asyncio.sleep(0)
            assert claimed(await reserved).share == 1
            assert (await refused).result == Refused("overloaded")
        finally:
            await server.config_set("maxmemory", limit or "0")
        assert claimed(await worker.path.claim_share(packet, "carol")).share == 2


async def test_a_full_batch_of_claims_on_one_packet_gives_every_share_once(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 10_000, 600)
        size = deployment.settings.batch_max
        assert size == 512, "the largest that there may be"
        items = [ClaimItem(packet.identity, str(packet), 0, f"p{n}") for n in range(size)]
        reply, entry = await reserve(worker.client, packet.shard, LIMITS, [], items)
        assert entry is not None
        assert [it.share for it in reply.results if isinstance(it, Reserved)] == list(range(1, size + 1))
        shares = await _claim_all(worker, packet, range(600))
        assert sorted(shares) == list(range(1, 601))
        assert shares[:size] == list(range(1, size + 1))
        await deployment.settled(worker)
        assert sorted(share for _, share in await _claims(deployment, packet)) == list(range(1, 601))


async def test_the_largest_batch_of_sends_fits_a_record(deployment: Deployment) -> None:
    size, owner = deployment.settings.batch_max, "a" * 64
    split = SplitParameters("lucky", 10**12, 10_000, 10**12, 1)
    terms = PacketTerms(owner, "CNY", split, "\N{RED GIFT ENVELOPE}" * 200, 604_800)
    async with deployment.ledger(), deployment.worker() as worker:
        shard = deployment.shard_of(owner)
        floor = (await fence_state(worker.client, shard)).floor
        assert await load_wallet(worker.client, shard, floor, owner, size * 10**12, 0) is Installed.LOADED
        items = [
            OperationItem(f"{n:032x}", shard, 0, floor, owner, 10**12, 0, terms, packet_part(terms))
            for n in range(size)
        ]
        reply, entry = await reserve(worker.client, shard, LIMITS, [], list(items))
        assert entry is not None
        assert all(isinstance(result, Reserved) for result in reply.results)
        # His repeat publishes all of it.
        found(await worker.path.reserve_operation(shard, items[-1].identity, owner, 10**12, terms))
        await deployment.settled(worker)
        assert len(await deployment.rows("SELECT FROM packet WHERE owner = $1", owner)) == size


async def _claim_all(worker: Worker, packet: OperationId, people: range) -> list[int]:
    shares: list[int] = []
    for start in range(people.start, people.stop, 2_000):
        some = range(start, min(start + 2_000, people.stop))
        answers = await asyncio.gather(*(worker.path.claim_share(packet, f"p{n}") for n in some))
        shares += [claimed(answer).share for answer in answers]
    return shares


async def test_the_largest_packet_is_loaded_with_thousands_of_holes_and_with_every_share_taken(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker(request_timeout_ms=30_000) as worker:
        packet = await deployment.sent(worker, "alice", 10_000, 10_000)
        await _claim_every_second(deployment, worker, packet)
        await deployment.flush_redis()
        await deployment.wait_open()
        filled = await _claim_all(worker, packet, range(5_000, 10_000))
        assert sorted(filled) == list(range(1, 10_000, 2))
        await deployment.settled(worker)
        await deployment.flush_redis()
        await deployment.wait_open()
        again = await _claim_all(worker, packet, range(4_900, 5_100))
        assert again == [*range(9_802, 10_001, 2), *filled[:100]]
        assert (await worker.path.claim_share(packet, "late")).result == Refused("sold_out")
        assert len(await _claims(deployment, packet)) == 10_000


async def _claim_every_second(deployment: Deployment, worker: Worker, packet: OperationId) -> None:
    """The even shares belong to p0 to p4999; the odd ones died with epochs that were lost. Every share is 1."""
    events = [ShareClaimed(str(packet), f"p{n}", 2 * n + 2, 1, n + 1) for n in range(5_000)]
    epoch = (await fence_state(worker.client, packet.shard)).epoch
    for start in range(0, len(events), 500):
        batch = Batch(epoch, 1_000 + start, 1_700_000_000_000, tuple(events[start : start + 500]))
        await worker.producer.append(packet.shard, batch)
    await deployment.settled(worker)


async def test_what_goes_through_a_wallet_in_its_life_is_exact_up_to_the_last_unit(deployment: Deployment) -> None:
    most = 9 * 10**15  # above it nothing is reserved: see test_overload.py
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        shard = deployment.shard_of("alice")
        floor = (await fence_state(worker.client, shard)).floor
        assert await load_wallet(worker.client, shard, floor, "alice", most - 3, most - 10) is Installed.LOADED

        async def take(n: int, amount_minor: int, credited_minor: int = 0) -> object:
            terms = PacketTerms("alice", "CNY", SplitParameters("lucky", amount_minor, 1, amount_minor, 1), "", 60)
            part = packet_part(terms)
            item = OperationItem(f"{n:032x}", shard, 0, floor, "alice", amount_minor, credited_minor, terms, part)
            reply, entry = await reserve(worker.client, shard, LIMITS, [], [item])
            if entry is not None:
                await confirm(worker.client, shard, [Confirm(reply.epoch, reply.entry)])
            return reply.results[0]

        assert await take(1, 8) == Short(most - 10)
        assert isinstance(await take(2, 6), Reserved)
        assert await take(3, 2) == Short(most - 4)
        assert isinstance(await take(4, 1), Reserved)
        assert await take(5, 1) == Short(most - 3)
        assert isinstance(await take(6, 3, credited_minor=most), Reserved)
        assert await take(7, 1, credited_minor=most) == Short(most)
        epoch = (await fence_state(worker.client, shard)).epoch
        held = await server.hmget(f"{{rp{shard}}}{epoch}:wallet:alice", "credited", "reserved")
        assert held == [str(most).encode()] * 2
