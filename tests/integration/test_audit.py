"""`redpacket audit` on honest ledgers: all holds while claims are made, after losses, evictions and decisions."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec.structs import replace

from ledger.audit.findings import AuditError, Findings
from ledger.deadletters.decide import Replayed, reject_letter, replay_letter
from ledger.deadletters.letter import Letter
from ledger.deadletters.read import list_letters
from redpacket.books.deployment import DeploymentError
from redpacket.commit.lane import Answer
from redpacket.events import PacketOpened, PacketTerms, ShareClaimed
from redpacket.ids import OperationId
from redpacket.log.connect import kafka_access
from redpacket.log.record import Batch
from redpacket.ops import metrics
from redpacket.shard.client import ShardClosedError
from redpacket.shard.reserve import ClaimFound
from redpacket.split import SplitParameters, commitment, split_seed
from tests.audited import assert_holds, audited
from tests.deployment import LONG_S, Deployment, Worker, claimed, over


async def test_an_honest_ledger_passes_and_the_next_audit_reads_only_what_is_new(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        for owner in ("bob", "carol"):
            claimed(await worker.path.claim_share(packet, owner))
        closed = await deployment.sent(worker, "dave", 500, 3)
        claimed(await worker.path.claim_share(closed, "bob"))
        over(await worker.path.close_packet(closed, "closed"))

        first = await audited(deployment.settings)
        assert_holds(first)
        assert [it.from_offset for it in first.shards] == [0, 0, 0, 0]
        assert sum(it.records for it in first.shards) == sum(it.next_offset for it in first.shards) > 0
        assert first.figures["I1"]["packets"] == 2
        claimed_minor = first.figures["I1"]["claimed"]
        assert first.figures["I4"] == {"operations in Redis": 4, "in Postgres": 4} | {
            "claims in Redis": 3,
            "these in Postgres": 3,
            "their amount in Redis": claimed_minor,
            "their amount in Postgres": claimed_minor,
        }
        assert first.figures["I6"]["events moved"] == 2 + 2 + 3 + 1

        claimed(await worker.path.claim_share(packet, "erin"))
        second = await audited(deployment.settings)
        assert_holds(second)
        assert [it.from_offset for it in second.shards] == [it.next_offset for it in first.shards]
        assert second.figures["I6"]["events moved"] == 1
        assert_holds(third := await audited(deployment.settings, "start"))
        assert [it.from_offset for it in third.shards] == [0, 0, 0, 0]
        assert [it.head for it in third.shards] == [it.head for it in second.shards]


async def _claim_until_told(deployment: Deployment, worker: Worker, packet: OperationId, owner: str) -> Answer:
    """As a phone does: a shard that is closed opens again, what is pending becomes known."""
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                answer = await worker.path.claim_share(packet, owner)
            except ShardClosedError:
                await deployment.wait_open()
                continue
            if isinstance(answer.result, ClaimFound):
                return answer
            await asyncio.sleep(0.05)


async def test_an_honest_ledger_passes_while_claims_are_made_redis_is_lost_and_packets_are_evicted(
    deployment: Deployment,
) -> None:
    audits: list[Findings] = []
    packets: list[OperationId] = []
    claims, evicted = 0, _evicted()
    # So little memory that everything idle is evicted at once.
    async with deployment.ledger(memory_evict_mib=1, memory_refuse_mib=512), deployment.worker() as worker:

        async def claim_all() -> None:
            nonlocal claims
            n = 0
            while n < 12 or _evicted() == evicted:
                packet = await deployment.sent(worker, f"sender{n}", 2_000, 20)
                if n in (4, 8):
                    await deployment.flush_redis()
                people = (f"p{m}" for m in range(min(20, n + 4)))
                await asyncio.gather(*(_claim_until_told(deployment, worker, packet, owner) for owner in people))
                if n % 3 == 0:
                    over(await worker.path.close_packet(packet, "closed"))
                packets.append(packet)
                claims += min(20, n + 4)
                n += 1

        claiming = asyncio.create_task(claim_all())
        while not claiming.done():
            assert_holds(await audited(deployment.settings))
            audits.append(await audited(deployment.settings, "start"))
            assert_holds(audits[-1])
        async with asyncio.timeout(LONG_S):
            await claiming
        assert_holds(last := await audited(deployment.settings))
    assert len(audits) > 1
    assert any(it.figures["I6"]["events moved"] < last.figures["I5"]["postings"] for it in audits), (
        "nothing was going on"
    )
    assert last.figures["I1"]["packets"] == len(packets)
    assert last.figures["I2"]["claims"] == claims
    assert last.figures["I4"]["operations in Redis"] < last.figures["I5"]["operations"], "nothing has left Redis"


def _evicted() -> float:
    return float(metrics.EVICTIONS.labels("packet")._value.get())


async def test_an_evicted_packet_is_not_missed(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
            claimed(await worker.path.claim_share(packet, "bob"))
            await deployment.settled(worker)
            assert (await audited(deployment.settings)).figures["I4"]["claims in Redis"] == 1
        async with deployment.redis() as redis:
            await redis.delete(*[it async for it in redis.scan_iter(f"*:{packet.identity}")])
        assert_holds(findings := await audited(deployment.settings, "start"))
        assert findings.figures["I4"]["claims in Redis"] == 0


async def test_what_is_reserved_and_not_confirmed_is_no_violation(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
            claimed(await worker.path.claim_share(packet, "bob"))
            await deployment.settled(worker)
        await deployment.reserve_only(worker, packet, "ghost")
        assert_holds(findings := await audited(deployment.settings))
        assert findings.figures["I4"]["claims in Redis"] == 1


async def test_a_packet_that_is_loaded_with_a_hole_in_its_shares_is_no_violation(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.reserve_only(worker, packet, "ghost")
        claimed(await worker.path.claim_share(packet, "carol"))
        await deployment.flush_redis()
        await _claim_until_told(deployment, worker, packet, "bob")
        for owner in ("", "dave", "erin"):
            if owner:
                await _claim_until_told(deployment, worker, packet, owner)
            assert_holds(await audited(deployment.settings))


async def test_records_that_came_twice_or_of_a_fenced_epoch_move_nothing_and_are_counted(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        first = claimed(await worker.path.claim_share(packet, "bob"))
        amount_minor = await deployment.amount_of(worker, packet, first)
        (row,) = await deployment.rows("SELECT epoch_fenced FROM shard WHERE shard = $1", packet.shard)
        again = Batch(row["epoch_fenced"], 7, first.at_ms, (ShareClaimed(str(packet), "bob", 1, amount_minor, 1),))
        # Reserved before that epoch was fenced off: else an honest opening would not explain it.
        late = Batch(
            row["epoch_fenced"] - 1, 7, first.at_ms - 3_600_000, (ShareClaimed(str(packet), "ghost", 2, 1, 2),)
        )
        for batch in (again, late):
            await worker.producer.append(packet.shard, batch)
        assert_holds(findings := await audited(deployment.settings))
        assert findings.figures["I6"] == Counter({"events moved": 3, "events repeated": 1})
        assert findings.figures["I5"]["events of a fenced epoch"] == 1


async def _set_aside(deployment: Deployment, worker: Worker, shard: int, *events: ShareClaimed) -> list[Letter]:
    (row,) = await deployment.rows("SELECT epoch_fenced FROM shard WHERE shard = $1", shard)
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
    await worker.producer.append(shard, Batch(row["epoch_fenced"], 99, at_ms, events))
    await deployment.settled(worker)
    await deployment.wait_open()
    letters = await list_letters(deployment.settings, decided=False)
    assert len(letters) == len(events)
    return letters


async def test_what_is_set_aside_is_unchecked_until_the_decision_and_no_violation(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        # Two claims that came before their packet.
        shard, day = deployment.shard_of("alice"), int(datetime.now(UTC).timestamp()) // 86_400
        packet = OperationId(shard, day, secrets.token_hex(16))
        events = [ShareClaimed(str(packet), f"p{n}", n, 10, n) for n in (1, 2)]
        first, second = await _set_aside(deployment, worker, shard, *events)
        terms = PacketTerms("alice", "CNY", SplitParameters("equal", 30, 3, 30, 1), "", 604_800)
        proof = commitment(split_seed(deployment.keys.split_key, str(packet)), terms.split)
        (row,) = await deployment.rows("SELECT epoch_fenced FROM shard WHERE shard = $1", shard)
        opened = Batch(row["epoch_fenced"], 98, first.at_ms or 0, (PacketOpened(str(packet), terms, proof),))
        await worker.producer.append(shard, opened)

        waiting = await audited(deployment.settings)
        # Alice never had what she has sent: that is wrong, and all that is.
        assert {name: it.total for name, it in waiting.violations.items() if it.total} == {"I1": 1}
        assert "the wallet of alice is below zero: debits 30, credits 0" in waiting.violations["I1"].sentences[0]
        assert waiting.figures["I5"]["events waiting for a person"] == 2
        await deployment.top_up(worker, "alice", 30)
        waiting = await audited(deployment.settings)
        assert waiting.unchecked == ["2 dead letters wait for a person: see `redpacket deadletters list`"]
        assert {name: it.total for name, it in waiting.violations.items() if it.total} == {}
        assert waiting.exit_status == 2
        assert await deployment.rows("SELECT * FROM audit_mark") == []

        assert await replay_letter(deployment.settings, first.name) == Replayed("applied")
        await reject_letter(deployment.settings, second.name)
        await deployment.wait_open()
        claimed(await worker.path.claim_share(packet, "p1"))
        for since in ("mark", "start"):
            assert_holds(decided := await audited(deployment.settings, since))
        assert decided.figures["I5"]["events rejected"] == decided.figures["I5"]["events replayed"] == 1
        assert decided.notes == ["1 dead letters were rejected: whoever was told of them was told wrong"]


async def test_what_was_replayed_and_set_aside_again_waits_by_its_new_letter(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        shard, day = deployment.shard_of("alice"), int(datetime.now(UTC).timestamp()) // 86_400
        early = ShareClaimed(str(OperationId(shard, day, secrets.token_hex(16))), "bob", 1, 10, 1)
        (letter,) = await _set_aside(deployment, worker, shard, early)
        again = await replay_letter(deployment.settings, letter.name)
        assert again.outcome == "set aside"
        await deployment.wait_open()
        findings = await audited(deployment.settings)
        assert {name: it.sentences for name, it in findings.violations.items() if it.total} == {}
        assert findings.unchecked == ["1 dead letters wait for a person: see `redpacket deadletters list`"]
        # Had the replay left nothing at all, it would be missed.
        await deployment.rows("UPDATE dead_letter SET decision = 'replayed', decided_at = now() WHERE decision IS NULL")
        findings = await audited(deployment.settings)
        assert findings.violations["I4"].total == 2
        assert "by bob" in findings.violations["I4"].sentences[0]


async def test_a_held_record_leaves_something_unchecked_until_it_is_rejected(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 900, 3)
        await _append_raw(deployment, packet.shard, b"junk")
        carol = claimed(await worker.path.claim_share(packet, "carol"))
        await _until(lambda: _is_held(deployment))
        held = await audited(deployment.settings)
        assert (held.exit_status, held.all_hold) == (2, False)
        assert [f"shard {packet.shard} is held at offset" in what for what in held.unchecked] == [True]
        assert held.figures["I4"]["waiting behind a held record"] == 1
        assert await deployment.rows("SELECT * FROM audit_mark") == []

        (letter,) = await list_letters(deployment.settings, decided=False)
        await reject_letter(deployment.settings, letter.name)
        await deployment.wait_open()
        assert claimed(await worker.path.claim_share(packet, "carol")) == carol
        assert_holds(findings := await audited(deployment.settings))
        assert findings.figures["I5"]["records rejected by a person"] == 1


async def _append_raw(deployment: Deployment, shard: int, raw: bytes) -> None:
    producer = AIOKafkaProducer(**kafka_access(deployment.settings), acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(deployment.topic, raw, partition=shard)
    finally:
        await producer.stop()


async def _is_held(deployment: Deployment) -> bool:
    return bool(await deployment.rows("SELECT FROM dead_letter WHERE item = -1"))


async def _until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG_S):
        while not await what():
            await asyncio.sleep(0.05)


async def test_an_audit_since_a_time_reads_from_there_and_keeps_no_mark_over_what_it_left_out(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        await deployment.settled(worker)
        settled = await deployment.rows("SELECT next_offset FROM shard ORDER BY shard")
        await asyncio.sleep(0.01)
        between = datetime.now(UTC)
        await asyncio.sleep(0.01)
        claimed(await worker.path.claim_share(packet, "bob"))
        assert_holds(findings := await audited(deployment.settings, between))
        assert [it.from_offset for it in findings.shards] == [row["next_offset"] for row in settled]
        assert findings.figures["I6"]["events moved"] == 1
        marks = await deployment.rows("SELECT * FROM audit_mark WHERE next_offset > 0")
        assert marks == []
        assert_holds(findings := await audited(deployment.settings, between - timedelta(days=1)))
        assert [it.from_offset for it in findings.shards] == [0, 0, 0, 0]


async def test_records_that_were_deleted_before_an_audit_read_them_are_told(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        claimed(await worker.path.claim_share(packet, "bob"))
        await deployment.settled(worker)
        await _delete_records(deployment, packet.shard, 2)
        claimed(await worker.path.claim_share(packet, "carol"))
        unread = await audited(deployment.settings)
        assert (unread.exit_status, len(unread.unchecked)) == (2, 1)
        assert "records 0 to 1 are not in the log any more, and no audit has read them" in unread.unchecked[0]
        assert await deployment.rows("SELECT * FROM audit_mark") == []
        assert_holds(findings := await audited(deployment.settings, "start"))
        assert findings.notes == [f"shard {packet.shard}: records 0 to 1 are not in the log any more"]
        assert findings.shards[packet.shard].from_offset == 2


async def _delete_records(deployment: Deployment, shard: int, below: int) -> None:
    admin = AIOKafkaAdminClient(**kafka_access(deployment.settings))
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(deployment.topic, shard): RecordsToDelete(below)})
    finally:
        await admin.close()


async def test_an_audit_that_cannot_be_made_says_which_part_is_away(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.audit.confirmed._PATIENCE_S", 1.0)
    # Nobody has opened the shards.
    with pytest.raises(AuditError, match="redis: shard 0 is closed"):
        await audited(deployment.settings)
    nowhere = replace(deployment.settings, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(DeploymentError, match=r"REDPACKET_REDIS_URL leads to 127\.0\.0\.1:1/0, .* does not answer"):
        await audited(nowhere)
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 1_000, 5)
        claimed(await worker.path.claim_share(packet, "bob"))
        # No ledger worker settles it.
        monkeypatch.setattr("ledger.audit.settled._STILL_S", 1.0)
        with pytest.raises(AuditError, match="the ledger does not settle"):
            await audited(deployment.settings)
