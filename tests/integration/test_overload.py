"""Overload's first line: refused early and cheaply, before anything is reserved."""

import asyncio

import pytest

from redpacket.shard.client import ShardClosedError, ShardUnreachableError
from redpacket.shard.reserve import ClaimItem, Refused, reserve
from tests.deployment import LIMITS, LONG_S, Deployment, claimed, found, over


async def test_more_than_may_wait_for_a_shard_are_refused_and_the_others_get_their_share(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker(queue_max=20) as worker:
        packet = await deployment.sent(worker, "alice", 10_000, 100)
        answers = await asyncio.gather(*(worker.path.claim_share(packet, f"p{n}") for n in range(100)))
        refused = [answer for answer in answers if answer.result == Refused("overloaded")]
        assert 0 < len(refused) < 100
        shares = {claimed(answer).share for answer in answers if answer not in refused}
        assert shares == set(range(1, 101 - len(refused)))


async def test_what_comes_too_late_for_its_caller_is_not_reserved(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        items = [ClaimItem(packet.identity, str(packet), deadline_ms, f"p{deadline_ms}") for deadline_ms in (1, 0)]
        reply, entry = await reserve(worker.client, packet.shard, LIMITS, [], items)
        assert reply.results[0] == Refused("late")
        assert entry is not None
        assert len(entry.items) == 1


async def test_an_outbox_that_is_full_takes_nothing_new_and_still_answers_repeats(deployment: Deployment) -> None:
    async with deployment.worker(outbox_max=2) as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
            claim = claimed(await worker.path.claim_share(packet, "bob"))
        # With no owner there is no relay that would empty it.
        for owner in ("x", "y"):
            await deployment.reserve_only(worker, packet, owner)
        assert (await worker.path.claim_share(packet, "carol")).result == Refused("overloaded")
        assert (await deployment.send(worker, "alice", 1, 1)).result == Refused("overloaded")
        assert (await worker.path.close_packet(packet, "closed")).result == Refused("overloaded")
        assert claimed(await worker.path.claim_share(packet, "bob")) == claim
        async with deployment.ledger():
            async with asyncio.timeout(LONG_S):
                while (answer := await worker.path.close_packet(packet, "closed")).result == Refused("overloaded"):
                    await asyncio.sleep(0.05)
            assert over(answer).state == "closed"
            await deployment.settled(worker)
            assert len(await deployment.rows("SELECT FROM claim")) == 3


async def test_who_comes_too_late_is_told_so_from_memory_even_without_redis_and_winners_are_not(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 2)
        for owner in ("bob", "carol"):
            claimed(await worker.path.claim_share(packet, owner))
        assert (await worker.path.claim_share(packet, "dave")).result == Refused("sold_out")
        await deployment.flush_redis()
        assert (await worker.path.claim_share(packet, "erin")).result == Refused("sold_out")
        with pytest.raises((ShardClosedError, ShardUnreachableError)):
            await worker.path.claim_share(packet, "bob")
        await deployment.wait_open()
        assert claimed(await worker.path.claim_share(packet, "bob")).share == 1


async def test_sold_out_is_not_remembered_while_a_share_is_unconfirmed(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 2)
            claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.reserve_only(worker, packet, "ghost")
        assert (await worker.path.claim_share(packet, "dave")).result == Refused("busy")
        await deployment.flush_redis()
        async with deployment.ledger():
            # The ghost's claim died with its Redis, and its share is there for another.
            assert claimed(await worker.path.claim_share(packet, "dave")).share == 2


async def test_a_wallet_that_has_seen_more_than_can_be_counted_is_refused(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 10))
        found(await deployment.send(worker, "alice", 1, 1))
        async with deployment.redis() as server:
            (key,) = [name async for name in server.scan_iter(match="*wallet:alice")]
            await server.hset(key, "credited", str(9 * 10**15 + 1))
        assert (await deployment.send(worker, "alice", 1, 1)).result == Refused("limit")
