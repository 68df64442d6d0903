"""A Redis that was open once and still runs is not believed, and is opened anew: nobody is told what will not count."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from ledger.audit.findings import Findings
from ledger.audit.run import audit
from redpacket.commit.compose import compose_record
from redpacket.ids import OperationId
from redpacket.limits import READING_CONNECTIONS
from redpacket.ops.metrics import LOST_EVENTS
from redpacket.shard.client import ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.fence import fence_state
from redpacket.shard.mark import redis_name
from redpacket.shard.outbox import Confirm, confirm
from redpacket.shard.read import read_claim
from redpacket.shard.reserve import ClaimFound, ClaimItem, reserve
from tests.deployment import LIMITS, LONG_S, Deployment, Worker, claimed
from tests.proxy import Proxy
from tests.redises import RedisServer, a_redis

PEOPLE = 20


@dataclass
class Led:
    """A deployment whose Redis is behind a name that leads to `first`, or later to `second`."""

    deployment: Deployment
    name: Proxy
    first: RedisServer
    second: RedisServer


@pytest.fixture
async def led(deployment: Deployment) -> AsyncIterator[Led]:
    async with a_redis() as first, a_redis() as second, Proxy(first.port) as name:
        settings = replace(deployment.settings, redis_url=f"redis://127.0.0.1:{name.port}/0")
        await deployment.rows("UPDATE redis SET name = $1", redis_name(settings.redis_url))
        yield Led(replace_settings(deployment, settings), name, first, second)


def replace_settings(deployment: Deployment, settings: object) -> Deployment:
    return Deployment(settings, deployment.servers, deployment.topic, deployment.keys)  # type: ignore[arg-type]


async def _claim(worker: Worker, packet: OperationId, owner: str) -> bool:
    """Whether `owner` was told that he has a share."""
    try:
        return isinstance((await worker.path.claim_share(packet, owner)).result, ClaimFound)
    except (ShardClosedError, ShardUnreachableError):
        return False


@asynccontextmanager
async def _crowd(worker: Worker, packet: OperationId, told: set[str]) -> AsyncIterator[None]:
    """People claim within, one after the other; `told` gets those who were told that they have a share."""
    done = asyncio.Event()

    async def claim() -> None:
        number = 0
        while not done.is_set():
            number += 1
            owner = f"crowd-{number}"
            if await _claim(worker, packet, owner):
                told.add(owner)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(claim())
        try:
            yield
        finally:
            done.set()


async def _owners(deployment: Deployment, packet: OperationId) -> set[str]:
    return {row["owner"] for row in await deployment.rows("SELECT owner FROM claim WHERE packet = $1", str(packet))}


async def _open_above(deployment: Deployment, epochs: dict[int, int]) -> dict[int, int]:
    """Waits until the name leads to where every shard is open under an epoch above these; the epochs."""
    client = ShardClient(deployment.settings)
    found: dict[int, int] = {}
    try:
        async with asyncio.timeout(LONG_S):
            while len(found) < deployment.settings.shards:
                for shard in range(deployment.settings.shards):
                    try:
                        state = await fence_state(client, shard)
                    except (ShardClosedError, ShardUnreachableError):
                        continue
                    if state.open and state.epoch > epochs.get(shard, 0):
                        found[shard] = state.epoch
                await asyncio.sleep(0.05)
    finally:
        await client.aclose()
    return found


async def test_a_name_that_leads_back_to_an_earlier_redis_loses_nothing_that_was_acknowledged(led: Led) -> None:
    deployment, told = led.deployment, set[str]()
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 10_000, 5_000)
        async with _crowd(worker, packet, told):
            epochs = await _open_above(deployment, {})
            for server in (led.second, led.first):
                led.name.lead_to(server.port)
                # By themselves: nobody has told the owners of it.
                epochs = await _open_above(deployment, epochs)
                so_far = len(told)
                async with asyncio.timeout(LONG_S):
                    while len(told) < so_far + PEOPLE:
                        await asyncio.sleep(0.05)
        await deployment.settled(worker)
        assert told - await _owners(deployment, packet) == set()


async def test_a_worker_that_is_still_on_the_redis_left_behind_stops_believing_it_by_itself(led: Led) -> None:
    deployment = led.deployment
    on_first = replace_settings(deployment, replace(deployment.settings, redis_url=led.first.url))
    async with deployment.ledger(), on_first.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 50)
        claimed(await worker.path.claim_share(packet, "bob"))
        led.name.lead_to(led.second.port)
        await _open_above(deployment, {packet.shard: 1})
        # It asks nothing, and its connections are as they were: it reads in Postgres what was fenced.
        async with asyncio.timeout(LONG_S):
            while worker.client.believes(packet.shard, 1):
                await asyncio.sleep(0.02)
        for owner in ("bob", "carol"):
            with pytest.raises(ShardClosedError):
                await worker.path.claim_share(packet, owner)


async def test_a_worker_hears_of_an_opening_while_all_its_reading_connections_are_taken(led: Led) -> None:
    deployment = led.deployment
    async with deployment.worker() as worker:
        pool = worker.books._pool
        for _ in range(READING_CONNECTIONS):
            await pool.acquire()
        try:
            await deployment.rows("UPDATE shard SET epoch_fenced = 7, epoch_taken = 7")
            async with asyncio.timeout(LONG_S):
                while worker.client.believes(0, 6):
                    await asyncio.sleep(0.02)
        finally:
            pool.terminate()


async def test_an_epoch_below_a_known_one_is_closed_to_every_call(led: Led) -> None:
    deployment = led.deployment
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
            claimed(await worker.path.claim_share(packet, "bob"))
        shard, item = packet.shard, ClaimItem(packet.identity, str(packet), 0, "carol")
        reply, _ = await reserve(worker.client, shard, LIMITS, [], [item])
        # The same Redis, the same fence: only that the worker knows of a later one.
        worker.client.learn(shard, reply.epoch + 1)
        for call in (
            reserve(worker.client, shard, LIMITS, [], [item]),
            confirm(worker.client, shard, [Confirm(reply.epoch, reply.entry)]),
            read_claim(worker.client, shard, packet.identity, str(packet), "bob"),
            worker.path.claim_share(packet, "bob"),
            worker.path.claim_share(packet, "dave"),
            worker.path.close_packet(packet, "closed"),
        ):
            with pytest.raises(ShardClosedError):
                await call
        assert not (await fence_state(worker.client, shard)).open
        # Who has not heard of it goes on.
        async with deployment.worker() as other:
            assert (await fence_state(other.client, shard)).open


async def test_what_is_sold_out_under_an_epoch_that_has_passed_is_forgotten(led: Led) -> None:
    deployment = led.deployment
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 1)
        claimed(await worker.path.claim_share(packet, "bob"))
        sold_out = worker.path._sold_out
        async with asyncio.timeout(LONG_S):
            while not sold_out.is_too_late(packet, "carol"):
                sold_out.remember(packet)
                await asyncio.sleep(0.02)
        worker.client.learn(packet.shard, worker.client.least_epoch(packet.shard) + 1)
        assert not sold_out.is_too_late(packet, "carol")


async def test_who_starts_knows_what_the_ledger_has_fenced(led: Led) -> None:
    deployment = led.deployment
    async with deployment.ledger():
        await _open_above(deployment, {})
    await deployment.rows("UPDATE shard SET epoch_fenced = epoch_fenced + 1, epoch_taken = epoch_taken + 1")
    async with deployment.worker() as worker:
        assert not (await fence_state(worker.client, 0)).open


async def _told(deployment: Deployment) -> Findings:
    return await audit(deployment.settings, "mark", lambda _: None)


async def test_what_an_honest_opening_cuts_off_is_told_and_is_no_violation(led: Led) -> None:
    deployment = led.deployment
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        reply, entry = await reserve(
            worker.client, packet.shard, LIMITS, [], [ClaimItem(packet.identity, str(packet), 0, "bob")]
        )
        assert entry is not None
        await deployment.settled(worker)
        # Redis is lost, its shards are opened anew, and only then the record of its publisher reaches the log.
        led.name.lead_to(led.second.port)
        await _open_above(deployment, {packet.shard: reply.epoch})
        record = await compose_record(worker.amounts, reply.epoch, reply.entry, entry)
        await worker.producer.append(packet.shard, record)
        lost = LOST_EVENTS._value.get()
        await deployment.settled(worker)
        findings = await _told(deployment)
        assert findings.all_hold, findings.violations
        assert findings.figures["I5"]["of these reserved before their shard was opened anew"] == 1
        assert LOST_EVENTS._value.get() == lost


async def test_what_a_redis_confirms_that_was_left_behind_is_an_alarm_and_never_all_holds(led: Led) -> None:
    deployment = led.deployment
    on_first = replace_settings(deployment, replace(deployment.settings, redis_url=led.first.url))
    async with deployment.ledger(), on_first.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 50)
        # As a worker of the version before, which believes whatever is open.
        worker.client.learn = lambda *_: None  # type: ignore[method-assign]
        led.name.lead_to(led.second.port)
        epochs = await _open_above(deployment, {packet.shard: 1})
        assert (await _told(deployment)).all_hold
        lost = LOST_EVENTS._value.get()
        told: set[str] = set()
        async with _crowd(worker, packet, told), asyncio.timeout(LONG_S):
            while LOST_EVENTS._value.get() < lost + 5:
                await asyncio.sleep(0.05)
        await deployment.settled(worker)
        assert told
        assert await _owners(deployment, packet) == set()
        findings = await _told(deployment)
        assert findings.exit_status == 1
        (sentence,) = findings.violations["I4"].sentences
        assert f"of shard {packet.shard} and epoch {epochs[packet.shard] - 1}" in sentence
        assert "who was told 201 for them has nothing" in sentence
