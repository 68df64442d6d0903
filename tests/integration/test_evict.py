"""What leaves Redis: only what the ledger shows equal; it comes back by itself; old epochs are cleared away."""

import asyncio

import pytest

from redpacket.books.snapshots import operation_snapshots, wallet_snapshots
from redpacket.commit.load import Absent
from redpacket.ids import OperationId
from redpacket.shard.evict import evict_operation, evict_wallet, sweep
from redpacket.shard.fence import fence_state
from redpacket.shard.load import Installed, load_operation
from redpacket.shard.reserve import Refused
from tests.deployment import LONG_S, Deployment, Worker, claimed, found, over, packet_of

_MIB = 2**20


async def _evict(worker: Worker, packet: OperationId) -> bool:
    snapshot = await operation_snapshots(worker.books, packet.shard, {packet.identity: packet.date})
    known = snapshot.operations[packet.identity]
    return await evict_operation(worker.client, packet.shard, snapshot.next_offset, packet.identity, known)


async def test_a_packet_is_evicted_only_when_the_ledger_has_all_of_it_and_comes_back_the_same(
    deployment: Deployment,
) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 10_000, 600)
            before = {n: claimed(await worker.path.claim_share(packet, f"p{n}")) for n in range(2)}
            await deployment.settled(worker)
        # Confirmed, and not settled while no ledger worker runs.
        before |= {n: claimed(await worker.path.claim_share(packet, f"p{n}")) for n in range(2, 300)}
        assert not await _evict(worker, packet)
        async with deployment.ledger():
            await deployment.settled(worker)
            await deployment.reserve_only(worker, packet, "ghost")
            assert not await _evict(worker, packet), "an entry speaks of it"
            claimed(await worker.path.claim_share(packet, "ghost"))
            await deployment.settled(worker)
            assert await _evict(worker, packet)
            for n, claim in before.items():
                assert claimed(await worker.path.claim_share(packet, f"p{n}")) == claim
            assert claimed(await worker.path.claim_share(packet, "late")).share == 302


async def test_a_snapshot_from_before_an_eviction_is_not_loaded_any_more(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        await deployment.settled(worker)
        old = await operation_snapshots(worker.books, packet.shard, {packet.identity: packet.date})
        share = claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        assert await _evict(worker, packet)
        known = old.operations[packet.identity]
        installed = await load_operation(worker.client, packet.shard, old.next_offset, packet.identity, known)
        assert installed is Installed.BEHIND
        assert claimed(await worker.path.claim_share(packet, "bob")) == share


async def test_a_wallet_is_evicted_only_when_all_that_it_paid_is_settled(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        shard = deployment.shard_of("alice")
        async with deployment.ledger():
            found(await deployment.top_up(worker, "alice", 1_000))
            found(await deployment.send(worker, "alice", 100, 1))
            await deployment.settled(worker)

        async def evict() -> bool:
            snapshot = await wallet_snapshots(worker.books, shard, ["alice"])
            return await evict_wallet(worker.client, shard, snapshot.next_offset, "alice", *snapshot.wallets["alice"])

        found(await deployment.send(worker, "alice", 200, 1))
        assert not await evict()
        async with deployment.ledger():
            await deployment.settled(worker)
            assert await evict()
            assert (await deployment.send(worker, "alice", 701, 1)).result == Refused("short")
            found(await deployment.send(worker, "alice", 700, 1))


async def test_a_key_used_again_after_its_packet_was_closed_and_evicted_finds_the_old_packet(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 2_000))
        packet = packet_of(await deployment.send(worker, "alice", 1_000, 3, key="k"))
        at_ms = over(await worker.path.close_packet(packet, "closed")).at_ms
        await deployment.settled(worker)
        assert await _evict(worker, packet)
        again = await deployment.send(worker, "alice", 1_000, 3, key="k")
        assert packet_of(again) == packet
        assert not again.fresh
        assert over(await worker.path.close_packet(packet, "closed")).at_ms == at_ms
        await deployment.settled(worker)
        assert await deployment.balances("alice") == (2_000, 0)


async def test_a_proof_of_absence_from_before_an_eviction_proves_nothing(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        await deployment.settled(worker)
        proof = await worker.loader.load_operation(packet.shard, "0" * 32)
        assert isinstance(proof, Absent)
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        assert await _evict(worker, packet)
        assert (await fence_state(worker.client, packet.shard)).floor > proof.next_offset


async def test_above_the_watermark_everything_cold_leaves_memory_and_all_of_it_still_works(
    deployment: Deployment,
) -> None:
    async with deployment.worker() as worker, deployment.redis() as server:
        async with deployment.ledger():
            packets = [await deployment.sent(worker, f"sender{n}", 1_000, 4) for n in range(10)]
            shares = [claimed(await worker.path.claim_share(packet, "bob")) for packet in packets]
            await deployment.settled(worker)
        async with deployment.ledger(memory_evict_mib=1):
            async with asyncio.timeout(LONG_S):
                while [name async for name in server.scan_iter(match="*:op:*")]:
                    await asyncio.sleep(0.1)
            again = [claimed(await worker.path.claim_share(packet, "bob")) for packet in packets]
            assert again == shares
            for packet in packets:
                claimed(await worker.path.claim_share(packet, "carol"))
                over(await worker.path.close_packet(packet, "closed"))
            await deployment.settled(worker)
            assert not await deployment.rows("SELECT FROM dead_letter")


async def test_what_an_older_epoch_left_is_deleted(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claimed(await worker.path.claim_share(packet, "bob"))
        tag = f"{{rp{packet.shard}}}"
        await server.hset(f"{tag}fence", "open", "0")
        async with asyncio.timeout(LONG_S):
            while [name async for name in server.scan_iter(match=f"{tag}1:*")]:
                await asyncio.sleep(0.05)
        claimed(await worker.path.claim_share(packet, "bob"))
        swept = await sweep(worker.client, packet.shard, 0, [f"{tag}fence", f"{tag}2:op:{packet.identity}", "x"])
        assert (swept.unlinked, swept.cold) == (0, (f"{tag}2:op:{packet.identity}",))


async def test_a_redis_with_less_room_than_the_settings_want_refuses_packets_in_time_for_claims_to_go_on(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        found(await deployment.top_up(worker, "alice", 10))
    async with deployment.redis() as server:
        await server.setrange("ballast", 64 * _MIB, b"x")
        limit = (await server.config_get("maxmemory"))["maxmemory"]
        used = (await server.info("memory"))["used_memory"]
        await server.config_set("maxmemory", used + 16 * _MIB)
        try:
            # By the settings alone there is room until Redis itself refuses everything, claims too.
            assert deployment.settings.memory_refuse_mib * _MIB > used + 16 * _MIB
            async with deployment.ledger(), deployment.worker() as worker:
                async with asyncio.timeout(LONG_S):
                    while (await deployment.send(worker, "alice", 1, 1)).result != Refused("overloaded"):
                        await asyncio.sleep(0.05)
                claimed(await worker.path.claim_share(packet, "bob"))
        finally:
            await server.config_set("maxmemory", limit or "0")
            await server.delete("ballast")
    assert "leaves no room for claims above REDPACKET_MEMORY_REFUSE_MIB=2048" in caplog.text


async def test_while_memory_is_short_new_packets_are_refused_and_claims_go_on(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        found(await deployment.top_up(worker, "alice", 10))
    async with deployment.ledger(memory_evict_mib=1, memory_refuse_mib=1), deployment.worker() as worker:
        async with asyncio.timeout(LONG_S):
            while (await deployment.send(worker, "alice", 1, 1)).result != Refused("overloaded"):
                await asyncio.sleep(0.05)
        claimed(await worker.path.claim_share(packet, "bob"))
        found(await deployment.top_up(worker, "alice", 10))
        over(await worker.path.close_packet(packet, "closed"))
    async with deployment.ledger(), deployment.worker() as worker:
        async with asyncio.timeout(LONG_S):
            while (answer := await deployment.send(worker, "alice", 1, 1)).result == Refused("overloaded"):
                await asyncio.sleep(0.05)
        found(answer)
