"""Packets end, closed by their owner or expired: what nobody has claimed goes back exactly once."""

import asyncio

import pytest

from redpacket.commit.lane import Answer
from redpacket.events import PacketClosed
from redpacket.ids import OperationId
from redpacket.log.record import Batch
from redpacket.shard.client import ShardClosedError
from redpacket.shard.read import read_closing
from redpacket.shard.reserve import CloseItem, OutboxLimits, Pending, Refused, reserve
from service.reading import PacketReader
from tests.deployment import LIMITS, LONG_S, Deployment, Worker, claimed, found, over


async def _row(deployment: Deployment, packet: OperationId) -> tuple[str, int, int]:
    (row,) = await deployment.rows("SELECT state, claimed_minor, refunded_minor FROM packet WHERE id = $1", str(packet))
    return row["state"], row["claimed_minor"], row["refunded_minor"]


async def _ended(deployment: Deployment, packet: OperationId) -> tuple[str, int, int]:
    ended = "SELECT FROM packet WHERE id = $1 AND state <> 'open'"
    async with asyncio.timeout(LONG_S):
        while not await deployment.rows(ended, str(packet)):
            await asyncio.sleep(0.05)
    return await _row(deployment, packet)


async def _settled_balances(deployment: Deployment, worker: Worker, owner: str) -> tuple[int, int]:
    await deployment.settled(worker)
    return await deployment.balances(owner)


async def test_what_is_left_of_a_closed_packet_goes_back_once_and_nobody_claims_any_more(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        packet = await deployment.sent(one, "alice", 1_000, 5)
        share = claimed(await one.path.claim_share(packet, "bob"))
        amount = await deployment.amount_of(one, packet, share)
        answers = await asyncio.gather(
            *(it.path.close_packet(packet, "closed") for it in (one, other) for _ in range(3))
        )
        assert {over(answer).state for answer in answers} == {"closed"}
        assert len({over(answer).at_ms for answer in answers}) == 1
        assert [answer.fresh for answer in answers].count(True) == 1
        assert (await other.path.claim_share(packet, "carol")).result == Refused("closed")
        assert claimed(await other.path.claim_share(packet, "bob")) == share
        assert await _settled_balances(deployment, one, "alice") == (1_000 - amount, 0)
        assert await _row(deployment, packet) == ("closed", amount, 1_000 - amount)
        # It can be spent again, and is still closed when all is read from the ledger.
        found(await deployment.send(one, "alice", 1_000 - amount, 1))
        await deployment.flush_redis()
        await deployment.wait_open()
        assert (await one.path.claim_share(packet, "carol")).result == Refused("closed")
        assert over(await one.path.close_packet(packet, "closed")) == over(answers[0])
        assert claimed(await one.path.claim_share(packet, "bob")) == share


async def test_a_close_waits_for_what_is_unconfirmed_and_stops_new_claims_meanwhile(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
        # With no owner there is no relay that would be first.
        await deployment.reserve_only(worker, packet, "bob")
        item = CloseItem(packet.identity, str(packet), 0, "closed")
        reply, entry = await reserve(worker.client, packet.shard, LIMITS, [], [item])
        assert isinstance(reply.results[0], Pending)
        assert entry is None
        assert (await worker.path.claim_share(packet, "carol")).result == Refused("busy")
        held = await PacketReader(worker.client, worker.loader).packet(packet)
        assert held.head.state == "closing"
        assert await read_closing(worker.client, packet.shard, 10) == (str(packet),)
        # Nobody asks again: the shard's owner publishes the claim and then ends the packet.
        async with deployment.ledger():
            state, claimed_minor, refunded_minor = await _ended(deployment, packet)
            assert (state, claimed_minor + refunded_minor) == ("closed", 1_000)
            bob = claimed(await worker.path.claim_share(packet, "bob"))
            assert await deployment.amount_of(worker, packet, bob) == claimed_minor
            assert await read_closing(worker.client, packet.shard, 10) == ()


async def test_a_refund_that_dies_with_its_redis_is_made_again_and_only_once(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        item = CloseItem(packet.identity, str(packet), 0, "closed")
        _, entry = await reserve(worker.client, packet.shard, LIMITS, [], [item])
        assert entry is not None
        await deployment.flush_redis()
        with pytest.raises(ShardClosedError):
            await worker.path.close_packet(packet, "closed")
        await deployment.wait_open()
        # The close was confirmed to nobody: the packet is as it was.
        claimed(await worker.path.claim_share(packet, "bob"))
        assert over(await worker.path.close_packet(packet, "closed")).state == "closed"
        wallet, escrow = await _settled_balances(deployment, worker, "alice")
        bob, _ = await deployment.balances("bob")
        assert (wallet + bob, escrow) == (1_000, 0)


async def test_shares_that_a_lost_redis_has_freed_are_refunded_too(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 6)
        await deployment.reserve_only(worker, packet, "ghost1", "ghost2")
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.flush_redis()
        await deployment.wait_open()
        # Shares 1 and 2 are holes below bob's 3; carol fills one of them.
        assert claimed(await worker.path.claim_share(packet, "carol")).share == 1
        over(await worker.path.close_packet(packet, "closed"))
        wallet, escrow = await _settled_balances(deployment, worker, "alice")
        (bob, _), (carol, _) = await deployment.balances("bob"), await deployment.balances("carol")
        assert (wallet + bob + carol, escrow) == (1_000, 0)
        assert min(wallet, bob, carol) > 0


async def test_a_packet_that_is_sold_out_has_nothing_to_close_or_to_expire(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 2, expires_in_s=1)
        for owner in ("bob", "carol"):
            claimed(await worker.path.claim_share(packet, owner))
        assert over(await worker.path.close_packet(packet, "closed")).state == "sold_out"
        await asyncio.sleep(1.5)
        assert over(await worker.path.close_packet(packet, "expired")).state == "sold_out"
        await deployment.settled(worker)
        assert await _row(deployment, packet) == ("sold_out", 1_000, 0)


async def test_a_packet_expires_by_itself_and_what_is_left_goes_back(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5, expires_in_s=8)
        assert (await worker.path.close_packet(packet, "expired")).result == Refused("not_due")
        amount = await deployment.amount_of(worker, packet, claimed(await worker.path.claim_share(packet, "bob")))
        assert await _ended(deployment, packet) == ("expired", amount, 1_000 - amount)
        assert (await worker.path.claim_share(packet, "carol")).result == Refused("expired")
        assert over(await worker.path.close_packet(packet, "closed")).state == "expired"
        assert await _settled_balances(deployment, worker, "alice") == (1_000 - amount, 0)


async def test_a_packet_that_expires_while_a_claim_is_unconfirmed_ends_as_expired(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5, expires_in_s=8)
        # With no owner there is no relay that would be first.
        await deployment.reserve_only(worker, packet, "bob")
        item, limits = CloseItem(packet.identity, str(packet), 0, "expired"), OutboxLimits(256, 600_000)
        async with asyncio.timeout(LONG_S):
            while True:
                reply, _ = await reserve(worker.client, packet.shard, limits, [], [item])
                if isinstance(reply.results[0], Pending):
                    break
                assert reply.results[0] == Refused("not_due")
                await asyncio.sleep(0.1)
        assert (await worker.path.claim_share(packet, "carol")).result == Refused("expired")
        async with deployment.ledger():
            state, claimed_minor, refunded_minor = await _ended(deployment, packet)
            assert (state, claimed_minor + refunded_minor) == ("expired", 1_000)


async def test_a_packet_that_no_redis_holds_any_more_expires_too(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5, expires_in_s=1)
            await deployment.settled(worker)
        await deployment.flush_redis()
        async with deployment.ledger():
            assert await _ended(deployment, packet) == ("expired", 0, 1_000)


async def test_a_claim_and_a_close_at_once_never_count_a_share_twice(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        packets = [await deployment.sent(one, f"sender{n}", 1_000, 8) for n in range(5)]

        async def both(packet: OperationId) -> list[Answer]:
            claims = [it.path.claim_share(packet, f"p{n}") for n, it in enumerate([one, other] * 3)]
            return await asyncio.gather(*claims, other.path.close_packet(packet, "closed"))

        for answers in await asyncio.gather(*map(both, packets)):
            assert over(answers.pop()).state == "closed"
            assert all(it.fresh or it.result in (Refused("closed"), Refused("busy")) for it in answers), answers
        await deployment.settled(one)
        assert not await deployment.rows("SELECT FROM dead_letter")
        for packet in packets:
            state, claimed_minor, refunded_minor = await _row(deployment, packet)
            assert (state, claimed_minor + refunded_minor) == ("closed", 1_000)


async def test_a_refund_that_does_not_fit_is_set_aside(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        await deployment.settled(worker)
        forged = PacketClosed(str(packet), "closed", 999)
        await worker.producer.append(packet.shard, Batch(1, 99, 1_728_000_000_000, (forged,)))
        await deployment.settled(worker)
        assert [row["reason"] for row in await deployment.rows("SELECT reason FROM dead_letter")] == [
            f"1000 is left of packet {packet}, not 999"
        ]
        assert await deployment.balances("alice") == (0, 1_000)
