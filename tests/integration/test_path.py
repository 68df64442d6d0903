"""The path of an outflow against the real servers: reserve, publish, confirm, settle, repeat, load."""

import asyncio
from collections import Counter

import asyncpg
import pytest
from msgspec.structs import replace

from redpacket.commit.load import Absent
from redpacket.events import PacketOpened, PacketTerms, ShareClaimed
from redpacket.ids import OperationId, identity_of
from redpacket.log.record import Batch, Fence
from redpacket.shard.client import ShardClosedError, ShardUnreachableError
from redpacket.shard.load import Installed, load_wallet
from redpacket.shard.reserve import (
    OperationItem,
    Pending,
    Refused,
    Reserved,
    Short,
    packet_part,
    reserve,
)
from redpacket.split import SplitParameters
from service.problems import ProblemError
from service.reading import PacketReader
from tests.deployment import LIMITS, LONG_S, Deployment, claimed, found, packet_of


async def _conservation(deployment: Deployment, packet: str) -> dict[str, int]:
    (row,) = await deployment.rows(
        "SELECT total_minor, claimed_minor, refunded_minor, claimed_shares,"
        " (SELECT coalesce(sum(amount_minor), 0)::bigint FROM claim WHERE packet = id) AS claims_minor,"
        " (SELECT count(*)::integer FROM claim WHERE packet = id) AS claims FROM packet WHERE id = $1",
        packet,
    )
    return dict(row)


async def _wallet(deployment: Deployment, owner: str) -> int:
    rows = await deployment.rows(
        "SELECT credits_minor - debits_minor AS balance FROM account WHERE owner = $1 AND kind = 'wallet'", owner
    )
    return sum(row["balance"] for row in rows)


async def test_every_fen_of_a_packet_goes_to_exactly_one_person_and_repeats_get_the_same(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        packet = await deployment.sent(one, "alice", 10_000, 50)
        workers = (one, other)
        answers = await asyncio.gather(
            *(workers[repeat].path.claim_share(packet, f"p{n}") for n in range(50) for repeat in range(2))
        )
        for first, second in zip(answers[::2], answers[1::2], strict=True):
            assert claimed(first) == claimed(second)
            assert [first.fresh, second.fresh].count(True) == 1
        assert sorted(claimed(answer).share for answer in answers[::2]) == list(range(1, 51))
        late = await one.path.claim_share(packet, "late")
        assert late.result == Refused("sold_out")
        await deployment.settled(one)
        assert await _conservation(deployment, str(packet)) == {
            "total_minor": 10_000,
            "claimed_minor": 10_000,
            "refunded_minor": 0,
            "claimed_shares": 50,
            "claims_minor": 10_000,
            "claims": 50,
        }
        for n in range(50):
            assert await _wallet(deployment, f"p{n}") == await deployment.amount_of(
                one, packet, claimed(answers[2 * n])
            )


async def test_a_send_repeated_is_one_packet_and_other_terms_are_seen(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        found(await deployment.top_up(one, "alice", 1_000))
        answers = await asyncio.gather(
            *(deployment.send(worker, "alice", 400, 4, key="k") for worker in (one, other) for _ in range(3))
        )
        assert len({found(answer).id for answer in answers}) == 1
        assert [answer.fresh for answer in answers].count(True) == 1
        changed = await deployment.send(other, "alice", 500, 4, key="k")
        assert found(changed).terms == found(answers[0]).terms
        await deployment.settled(one)
        assert await _wallet(deployment, "alice") == 600


async def test_a_claim_whose_worker_died_before_publishing_is_published_by_its_repeat(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 2)
        # With no owner there is no relay that would be first.
        share = await deployment.reserve_only(worker, packet, "bob")
        # The other share is free, but the last one is not to be called gone while it may still die.
        claimed(await worker.path.claim_share(packet, "carol"))
        assert (await worker.path.claim_share(packet, "dave")).result == Refused("busy")
        assert claimed(await worker.path.claim_share(packet, "bob")).share == share
        assert (await worker.path.claim_share(packet, "dave")).result == Refused("sold_out")
        async with deployment.ledger():
            await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims_minor"] == 1_000


async def test_after_redis_lost_everything_claims_stand_and_only_unconfirmed_shares_are_free_again(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 10_000, 20)
        before = {n: claimed(await worker.path.claim_share(packet, f"p{n}")) for n in range(5)}
        died = await deployment.reserve_only(worker, packet, "ghost1", "ghost2")
        before |= {n: claimed(await worker.path.claim_share(packet, f"p{n}")) for n in range(5, 10)}

        await deployment.flush_redis()
        with pytest.raises(ShardClosedError):
            await worker.path.claim_share(packet, "p0")
        await deployment.wait_open()

        for n, claim in before.items():
            again = await worker.path.claim_share(packet, f"p{n}")
            assert claimed(again) == claim
            assert not again.fresh
        after = [claimed(await worker.path.claim_share(packet, f"q{n}")).share for n in range(10)]
        assert after[0] == died
        assert sorted([claim.share for claim in before.values()] + after) == list(range(1, 21))
        assert (await worker.path.claim_share(packet, "ghost1")).result == Refused("sold_out")
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims_minor"] == 10_000


async def test_a_send_repeated_after_redis_lost_everything_finds_the_first(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 1_000))
        first = found(await deployment.send(worker, "alice", 1_000, 3, key="k"))
        await deployment.flush_redis()
        await deployment.wait_open()
        assert found(await deployment.send(worker, "alice", 1_000, 3, key="k")) == first
        assert (await deployment.send(worker, "alice", 1, 1, key="other")).result == Refused("short")


async def test_money_just_received_from_another_shard_can_be_spent_at_once(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        assert deployment.shard_of("alice") != deployment.shard_of("bob"), "choose other names"
        assert (await deployment.send(worker, "bob", 100, 1)).result == Refused("short")
        for _ in range(5):
            packet = await deployment.sent(worker, "alice", 100, 1)
            claimed(await worker.path.claim_share(packet, "bob"))
            found(await deployment.send(worker, "bob", 100, 1))
        assert (await deployment.send(worker, "bob", 100, 1)).result == Refused("short")


async def test_a_wallet_is_never_overdrawn_by_many_at_once(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as one, deployment.worker() as other:
        found(await deployment.top_up(one, "alice", 1_000))
        answers = await asyncio.gather(
            *(deployment.send(worker, "alice", 100, 1) for worker in (one, other) for _ in range(15))
        )
        outcomes = Counter(answer.fresh or answer.result for answer in answers)
        assert outcomes[True] == 10
        assert outcomes.keys() <= {True, Refused("short"), Refused("busy")}
        await deployment.settled(one)
        assert await _wallet(deployment, "alice") == 0


async def test_while_kafka_is_away_a_claim_is_pending_and_its_repeat_gets_the_same_share(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker(kafka_timeout_ms=500, request_timeout_ms=1_500) as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 2)
        kafka = deployment.servers.child("kafka")
        async with kafka.down():
            assert isinstance((await worker.path.claim_share(packet, "bob")).result, Pending)
        await kafka.wait_ready()
        async with asyncio.timeout(LONG_S):
            while isinstance((answer := await worker.path.claim_share(packet, "bob")).result, Pending):
                pass
        assert claimed(answer).share == 1
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims"] == 1


async def test_while_postgres_is_away_claims_on_loaded_packets_go_on(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        postgres = deployment.servers.child("postgres")
        async with postgres.down():
            claimed(await worker.path.claim_share(packet, "bob"))
        await postgres.wait_ready()
        claimed(await worker.path.claim_share(packet, "carol"))
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims"] == 2


async def test_a_settlement_cut_in_flight_is_settled_once_when_postgres_is_back(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        await deployment.settled(worker)
        blocker = await asyncpg.connect(deployment.settings.postgres_url)
        await blocker.execute("BEGIN")
        await blocker.execute("SELECT FROM shard FOR UPDATE")
        claimed(await worker.path.claim_share(packet, "bob"))
        async with asyncio.timeout(LONG_S):
            while not await deployment.rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                await asyncio.sleep(0.02)
        postgres = deployment.servers.child("postgres")
        postgres.kill()
        blocker.terminate()
        await postgres.wait_ready()
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims"] == 1


async def test_records_delivered_twice_or_from_a_fenced_epoch_move_nothing(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        amount = await deployment.amount_of(worker, packet, claim)
        await deployment.settled(worker)
        event = ShareClaimed(str(packet), "bob", claim.share, amount, 1)
        stale = ShareClaimed(str(packet), "mallory", 2, 1, 2)
        await worker.producer.append(packet.shard, Batch(1, 99, claim.at_ms, (event,)))
        await worker.producer.append(packet.shard, Batch(0, 99, claim.at_ms, (stale,)))
        await worker.producer.append(packet.shard, Fence(0))
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims_minor"] == amount
        assert await _wallet(deployment, "bob") == amount
        rows = await deployment.rows(
            "SELECT applied, repeated, ignored FROM record WHERE shard = $1 ORDER BY kafka_offset DESC LIMIT 3",
            packet.shard,
        )
        assert [tuple(row) for row in rows] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]


async def test_an_event_that_contradicts_the_ledger_is_set_aside_and_moves_nothing(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        before = await deployment.rows("SELECT * FROM account ORDER BY id")
        forged = (
            ShareClaimed(str(packet), "mallory", claim.share, 1, 2),  # bob's share
            ShareClaimed(str(packet), "bob", 2, 1, 2),  # a second one for bob
            ShareClaimed(str(packet), "mallory", 3, 1_000, 2),  # more than is left
        )
        await worker.producer.append(packet.shard, Batch(1, 98, claim.at_ms, forged))
        await deployment.settled(worker)
        assert await deployment.rows("SELECT * FROM account ORDER BY id") == before
        assert [row["item"] for row in await deployment.rows("SELECT item FROM dead_letter ORDER BY item")] == [0, 1, 2]


async def test_a_second_share_for_one_person_under_a_new_sequence_is_set_aside(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        # Above every sequence settled so far, so that it is not even looked for before it is found to stand there.
        forged = ShareClaimed(str(packet), "bob", 2, 1, 9), ShareClaimed(str(packet), "carol", 3, 1, 10)
        await worker.producer.append(packet.shard, Batch(1, 97, claim.at_ms, forged))
        await deployment.settled(worker)
        assert [row["item"] for row in await deployment.rows("SELECT item FROM dead_letter")] == [0]
        assert await _wallet(deployment, "carol") == 1


async def test_an_unknown_packet_is_not_found_only_by_proof(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        unknown = OperationId(packet.shard, packet.day, "0" * 32)
        assert (await worker.path.claim_share(unknown, "bob")).result == Refused("not_found")
        other_day = OperationId(packet.shard, packet.day - 1, packet.identity)
        assert (await worker.path.claim_share(other_day, "bob")).result == Refused("not_found")


async def test_a_send_that_died_leaves_nothing_to_the_next_one_with_its_key(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 5_100))
        await deployment.settled(worker)
        identity, shard = identity_of(deployment.keys.id_key, "alice", "k"), deployment.shard_of("alice")
        await worker.loader.load_wallet(shard, "alice")
        proof = await worker.loader.load_operation(shard, identity)
        assert isinstance(proof, Absent)
        died = PacketTerms("alice", "CNY", SplitParameters("lucky", 5_000, 2, 5_000, 1), "", 60)
        item = OperationItem(identity, shard, 0, proof.next_offset, "alice", 5_000, 0, died, packet_part(died))
        reply, _ = await reserve(worker.client, shard, LIMITS, [], [item])
        reserved = reply.results[0]
        assert isinstance(reserved, Reserved)
        await worker.amounts.of_packet(reserved.id, died.split)
        await deployment.flush_redis()
        await deployment.wait_open()

        packet = packet_of(await deployment.send(worker, "alice", 100, 5, key="k"))
        assert str(packet) == reserved.id, "the same key on the same day is the same id"
        claims = [claimed(await worker.path.claim_share(packet, f"p{n}")) for n in range(5)]
        assert sum([await deployment.amount_of(worker, packet, claim) for claim in claims]) == 100
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims_minor"] == 100


async def test_a_redis_that_only_reads_is_a_closed_one_and_a_promoted_one_is_opened_anew(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker, deployment.redis() as server:
        packet = await deployment.sent(worker, "alice", 1_000, 3)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        await server.slaveof("127.0.0.1", 1)
        try:
            with pytest.raises((ShardUnreachableError, ShardClosedError)):
                await worker.path.claim_share(packet, "carol")
        finally:
            await server.slaveof()
        await deployment.wait_open()
        assert claimed(await worker.path.claim_share(packet, "bob")) == claim
        claimed(await worker.path.claim_share(packet, "carol"))
        await deployment.settled(worker)
        assert (await _conservation(deployment, str(packet)))["claims"] == 2


async def test_a_new_day_begins_while_somebody_reads_the_tables(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 10))
        reader = await asyncpg.connect(deployment.settings.postgres_url)
        await reader.execute("BEGIN")
        await reader.execute("SELECT count(*) FROM packet, claim, posting")
        other_day = OperationId(deployment.shard_of("alice"), 20_000, "a" * 32)
        terms = PacketTerms("alice", "CNY", SplitParameters("lucky", 10, 2, 10, 1), "", 60)
        opened = PacketOpened(str(other_day), terms, "c" * 64)
        await worker.producer.append(other_day.shard, Batch(1, 90, 1_728_000_000_000, (opened,)))
        await deployment.settled(worker)
        await reader.close()
        assert (await _conservation(deployment, str(other_day)))["total_minor"] == 10


async def test_a_burst_of_sends_is_looked_up_together(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 400))
        answers = await asyncio.gather(*(deployment.send(worker, "alice", 1, 1) for _ in range(400)))
        assert len({found(answer).id for answer in answers}) == 400
        await deployment.settled(worker)
        assert await _wallet(deployment, "alice") == 0


async def test_what_was_acknowledged_is_read_the_same_after_redis_lost_everything(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        for n in range(3):
            claimed(await worker.path.claim_share(packet, f"p{n}"))
        reader = PacketReader(worker.client, worker.loader)
        before = await reader.packet(packet), await reader.claims(packet, 0, 10), await reader.claim(packet, "p1")
        await deployment.flush_redis()
        await deployment.wait_open()
        held, claims, claim = (
            await reader.packet(packet),
            await reader.claims(packet, 0, 10),
            await reader.claim(packet, "p1"),
        )
        assert replace(held, head=replace(held.head, now_ms=before[0].head.now_ms)) == before[0]
        assert (claims, claim) == before[1:]
        assert [it.owner for it in claims.claims] == ["p0", "p1", "p2"]
        with pytest.raises(ProblemError, match="no such packet"):
            await reader.packet(OperationId(packet.shard, packet.day, "0" * 32))


async def test_a_burst_of_reads_waits_for_its_turn(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
    # As after a restart, when all that has waited comes at once: on a busy machine it takes its time.
    async with deployment.worker(redis_timeout_ms=30_000, request_timeout_ms=30_000) as worker:
        reader = PacketReader(worker.client, worker.loader)
        reads = asyncio.gather(*(reader.packet(packet) for _ in range(1_000)))
        claimed(await worker.path.claim_share(packet, "bob"))
        assert len(await reads) == 1_000


async def test_a_reading_of_the_ledger_rides_on_the_reserve_after_it(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 100))
        await deployment.settled(worker)
        identity, shard = identity_of(deployment.keys.id_key, "alice", "k"), deployment.shard_of("alice")
        proof = await worker.loader.load_operation(shard, identity)
        assert isinstance(proof, Absent)
        # The wallet as an older reading had it: nothing has come in yet.
        assert await load_wallet(worker.client, shard, proof.next_offset, "alice", 0, 0) is Installed.LOADED
        terms = PacketTerms("alice", "CNY", SplitParameters("lucky", 100, 2, 100, 1), "", 60)
        item = OperationItem(identity, shard, 0, proof.next_offset, "alice", 100, 0, terms, packet_part(terms))
        reply, _ = await reserve(worker.client, shard, LIMITS, [], [item])
        assert reply.results[0] == Short(0)
        reply, _ = await reserve(worker.client, shard, LIMITS, [], [replace(item, credited_minor=100)])
        assert isinstance(reply.results[0], Reserved)
