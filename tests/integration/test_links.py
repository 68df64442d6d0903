"""A link between a worker and a server that loses all that goes one way: nobody waits for ever, nothing is lost."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from service.claim_lists import ClaimLists
from service.claims import Claims
from service.operations import Operations
from service.packets import Packets
from service.problems import problem_of
from service.reading import PacketReader
from service.settled import SettledOperations
from service.words import ClaimList, PacketRequest
from tests.deployment import LONG_S, Deployment, claimed, found
from tests.proxy import Direction, proxied

DEADLINES: dict[str, int] = {
    "request_timeout_ms": 2_500,
    "redis_timeout_ms": 800,
    "postgres_timeout_ms": 800,
    "kafka_timeout_ms": 1_000,
}


async def status_of(call: Awaitable[tuple[int, Any]]) -> int:
    """What a client is answered."""
    async with asyncio.timeout(LONG_S):
        try:
            return (await call)[0]
        except Exception as error:  # noqa: BLE001 what nobody expected is logged, and looked for there
            return problem_of(error).code.status


async def until_final(call: Any) -> int:
    async with asyncio.timeout(LONG_S):
        while (status := await status_of(call())) not in (200, 201):
            assert status in (202, 503)
            await asyncio.sleep(0.05)
    return status


@pytest.mark.parametrize("direction", ["requests", "answers"])
@pytest.mark.parametrize(
    ("part", "claims_get", "sends_get"),
    [
        ("redis", {503}, {503}),
        # 200 where the shard's owner, whose own link is whole, has published the entry before the deadline.
        ("kafka", {200, 202, 503}, {200, 202, 503}),
        ("postgres", {201}, {503}),
    ],
)
async def test_a_link_that_loses_everything_makes_no_answer_untrue_and_once_it_is_mended_all_is_served(
    deployment: Deployment,
    part: str,
    claims_get: set[int],
    sends_get: set[int],
    direction: Direction,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = structs.replace(deployment.settings, **DEADLINES)
    async with (
        asyncio.timeout(3 * LONG_S),
        deployment.ledger(),
        proxied(deployment, part) as (proxy, there),
        deployment.worker() as patient,
        deployment.worker(**DEADLINES, **there) as worker,
    ):
        packet = str(await deployment.sent(patient, "alice", 1_000, 20))
        found(await deployment.top_up(patient, "alice", 40))
        claims = Claims(settings, worker.path, worker.amounts)
        reader = PacketReader(worker.client, worker.loader)
        packets = Packets(settings, deployment.keys.id_key, worker.path, worker.amounts, reader)

        def claim(n: int) -> Awaitable[tuple[int, Any]]:
            return claims.claim_share(packet, f"p{n}")

        def send(n: int) -> Awaitable[tuple[int, Any]]:
            return packets.send_packet("alice", f"k{n}", PacketRequest("lucky", 10, 2))

        await until_final(lambda: claim(0))
        proxy.losing = {direction}
        # More at once than there are connections.
        claims_got, sends_got, poor = await asyncio.gather(
            asyncio.gather(*(status_of(claim(n)) for n in range(1, 11))),
            asyncio.gather(*(status_of(send(n)) for n in range(3))),
            # To be told that he is short he would need all three.
            status_of(packets.send_packet("bob", "k", PacketRequest("lucky", 10, 2))),
        )
        assert set(claims_got) <= claims_get
        assert set(sends_got) <= sends_get
        assert poor == 503
        proxy.losing = set()
        assert {await until_final(lambda n=n: claim(n)) for n in range(12)} <= {200, 201}
        assert {await until_final(lambda n=n: send(n)) for n in range(3)} <= {200, 201}
        # As service/problems.py says it: asyncpg has a word like it for a connection that was cut.
        assert "unexpected: " not in caplog.text
        await deployment.settled(worker)
        (row,) = await deployment.rows(
            "SELECT (SELECT count(*) FROM packet WHERE owner = 'alice') AS packets,"
            " (SELECT count(*) FROM claim WHERE packet = $1) AS claims",
            packet,
        )
        assert tuple(row) == (4, 12)
        # A worker whose link is lost can be stopped.
        proxy.losing = {direction}
        assert await status_of(send(3)) == 503 or part == "kafka"


async def test_without_the_ledger_no_claim_is_called_settled_and_no_top_up_captured(deployment: Deployment) -> None:
    async with (
        deployment.ledger(),
        proxied(deployment, "postgres") as (proxy, there),
        deployment.worker(**DEADLINES, **there) as worker,
    ):
        settings = structs.replace(deployment.settings, **DEADLINES)
        packet = await deployment.sent(worker, "alice", 1_000, 20)
        found(await deployment.top_up(worker, "alice", 10, "k"))
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        reader, ledger = PacketReader(worker.client, worker.loader), SettledOperations(worker.books)
        lists = ClaimLists(settings, worker.books, worker.amounts, reader)
        operations = Operations(settings, deployment.keys.id_key, ledger, reader)

        async def settled() -> list[bool]:
            status, listed = await lists.list_claims(str(packet), 0, 50)
            assert status == 200
            assert isinstance(listed, ClaimList)
            return [it.settled for it in listed.claims]

        assert await settled() == [True]
        assert await status_of(operations.see_operation("boss", "k")) == 200
        proxy.losing = {"answers"}
        assert await settled() == [False]
        assert await status_of(operations.see_operation("boss", "k")) == 503
        proxy.losing = set()
        assert await until_final(lambda: operations.see_operation("boss", "k")) == 200
        assert await settled() == [True]
        await ledger.aclose()


async def test_the_ledger_settles_on_once_its_links_are_mended(deployment: Deployment) -> None:
    async with AsyncExitStack() as resources:
        proxies, settings = [], structs.replace(deployment.settings, **DEADLINES)
        for part in ("redis", "kafka", "postgres"):
            proxy, there = await resources.enter_async_context(proxied(deployment, part))
            proxies.append(proxy)
            settings = structs.replace(settings, **there)
        worker = await resources.enter_async_context(deployment.worker())
        async with deployment.ledger():
            await deployment.wait_open()  # which leaves a mark, by which Redis is known under the proxy's address
        async with replace(deployment, settings=settings).ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 20)
            for proxy in proxies:
                proxy.losing = {"requests", "answers"}
            # Nobody who claims notices; and Kafka gives the worker up.
            for n in range(10):
                claimed(await worker.path.claim_share(packet, f"p{n}"))
                await asyncio.sleep(0.7)
            for proxy in proxies:
                proxy.losing = set()
            await deployment.settled(worker)
            (row,) = await deployment.rows("SELECT count(*) FROM claim WHERE packet = $1", str(packet))
            assert row["count"] == 10
            await deployment.flush_redis()
            await deployment.wait_open()
