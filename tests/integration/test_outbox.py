"""The outbox: what a dead worker left is relayed, and while the log takes nothing nothing new is reserved."""

import asyncio

from redpacket.shard.fence import fence_state
from redpacket.shard.outbox import survey_outbox, take_entry
from redpacket.shard.reserve import ClaimItem, Pending, Refused, reserve
from tests.deployment import LIMITS, LONG_S, Deployment, Worker, claimed, found, packet_of


async def _drained(worker: Worker, shard: int) -> None:
    async with asyncio.timeout(LONG_S):
        while (await survey_outbox(worker.client, shard, 0, 10)).entries:
            await asyncio.sleep(0.05)


async def test_what_a_dead_worker_has_reserved_is_published_by_the_shards_owner(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        await deployment.reserve_only(worker, packet, "bob", "carol")
        await _drained(worker, packet.shard)
        await deployment.settled(worker)
        rows = await deployment.rows("SELECT owner FROM claim ORDER BY sequence")
        assert [row["owner"] for row in rows] == ["bob", "carol"]
        assert not (await worker.path.claim_share(packet, "bob")).fresh


async def test_an_entry_is_repeated_by_one_at_a_time(deployment: Deployment) -> None:
    async with deployment.worker() as one, deployment.worker() as other:
        async with deployment.ledger():
            packet = await deployment.sent(one, "alice", 1_000, 5)
        # With no owner there is no relay that would be first.
        await deployment.reserve_only(one, packet, "bob")
        (entry,) = (await survey_outbox(one.client, packet.shard, 0, 10)).older
        first = await take_entry(one.client, packet.shard, entry, 60_000)
        second = await take_entry(other.client, packet.shard, entry, 60_000)
        assert first.entry is not None
        assert not first.by_another
        assert second.entry is None
        assert second.by_another


async def test_while_kafka_is_away_claims_are_refused_before_they_are_reserved_and_then_go_on(
    deployment: Deployment,
) -> None:
    async with (
        deployment.ledger(kafka_timeout_ms=500),
        deployment.worker(kafka_timeout_ms=500, outbox_age_max_ms=600, request_timeout_ms=900) as one,
        deployment.worker(kafka_timeout_ms=500, outbox_age_max_ms=600) as other,
    ):
        packet = await deployment.sent(one, "alice", 1_000, 5)
        kafka = deployment.servers.child("kafka")
        async with kafka.down():
            assert isinstance((await one.path.claim_share(packet, "bob")).result, Pending)
            # All workers alike, also one that has not met the fault itself.
            assert (await other.path.claim_share(packet, "carol")).result == Refused("stalled")
            assert (await deployment.send(one, "alice", 1, 1)).result == Refused("stalled")
        await kafka.wait_ready()
        async with asyncio.timeout(LONG_S):
            while (answer := await other.path.claim_share(packet, "carol")).result == Refused("stalled"):
                await asyncio.sleep(0.1)
        assert claimed(answer).share == 2
        assert claimed(await one.path.claim_share(packet, "bob")).share == 1
        await deployment.settled(one)
        assert len(await deployment.rows("SELECT FROM claim")) == 2


async def test_an_entry_that_a_dead_worker_left_stops_its_shard_only_until_somebody_asks(
    deployment: Deployment,
) -> None:
    async with deployment.worker(outbox_age_max_ms=300) as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
        # With no owner there is no relay; the log itself is well.
        await deployment.reserve_only(worker, packet, "ghost")
        async with asyncio.timeout(LONG_S):
            while (await survey_outbox(worker.client, packet.shard, 300, 10)).older == ():
                await asyncio.sleep(0.05)
            while (answer := await worker.path.claim_share(packet, "bob")).result == Refused("stalled"):
                await asyncio.sleep(0.05)
        assert claimed(answer).share == 2
        assert claimed(await worker.path.claim_share(packet, "ghost")).share == 1


async def test_an_entry_from_before_the_clock_was_set_back_is_published_all_the_same(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        await deployment.reserve_only(worker, packet, "bob")
        epoch = (await fence_state(worker.client, packet.shard)).epoch
        await server.zincrby(f"{{rp{packet.shard}}}{epoch}:outbox_times", 60_000, "2")
        await _drained(worker, packet.shard)
        await deployment.settled(worker)
        assert not (await worker.path.claim_share(packet, "bob")).fresh


async def test_a_batch_names_no_more_shares_than_can_be_computed_at_once(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as cold:
        found(await deployment.top_up(one, "alice", 120_000))
        packets = [packet_of(await deployment.send(one, "alice", 10_000, 10_000)) for _ in range(12)]
        items = [ClaimItem(packet.identity, str(packet), 0, "bob") for packet in packets]
        reply, entry = await reserve(one.client, packets[0].shard, LIMITS, [], items)
        assert entry is not None
        assert len(entry.packets) == 5
        assert list(reply.results[5:]) == [Refused("crowded")] * 7
        # Nobody but the lane sees that: those whose turn has not come are in the next batches.
        answers = await asyncio.gather(*(cold.path.claim_share(packet, "carol") for packet in packets))
        assert {claimed(answer).share for answer in answers} <= {1, 2}
