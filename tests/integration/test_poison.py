"""What contradicts the ledger, or cannot be settled: set aside, frozen, and decided by a person."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec.structs import replace
from prometheus_client import REGISTRY

from ledger.deadletters.decide import Replayed, reject_letter, replay_letter
from ledger.deadletters.letter import Letter, LetterError, LetterName
from ledger.deadletters.read import find_letter, list_letters
from ledger.owner.conservation import Conservation
from ledger.settle.chain import link
from redpacket.events import Event, PacketOpened, PacketTerms, ShareClaimed, TopUpTerms, WalletToppedUp
from redpacket.ids import OperationId
from redpacket.log.connect import kafka_access
from redpacket.log.record import Batch
from redpacket.ops import metrics
from redpacket.settings import settings_environ
from redpacket.shard.client import ShardClosedError
from redpacket.shard.fence import fence_state
from redpacket.shard.reserve import Refused
from redpacket.split import SplitParameters
from service.reading import PacketReader
from tests.deployment import LONG_S, Deployment, Worker, claimed, found
from tests.system import run_command

AT_MS = 1_771_315_200_000
TERMS = PacketTerms("alice", "CNY", SplitParameters("equal", 30, 3, 10, 10), "", 604_800)


async def _contradict(deployment: Deployment, worker: Worker, shard: int, *events: Event) -> list[Letter]:
    """Publishes what is set aside, and waits until the shard is open again: the new letters."""
    before = {letter.name for letter in await list_letters(deployment.settings, decided=True)}
    await worker.producer.append(shard, Batch(await _epoch(deployment, shard), 99, AT_MS, events))
    await deployment.settled(worker)
    letters = [it for it in await list_letters(deployment.settings, decided=True) if it.name not in before]
    assert [letter.name.item for letter in letters] == list(range(len(events)))
    await deployment.wait_open()
    return letters


async def _epoch(deployment: Deployment, shard: int) -> int:
    (row,) = await deployment.rows("SELECT epoch_fenced FROM shard WHERE shard = $1", shard)
    return int(row["epoch_fenced"])


async def _balances(deployment: Deployment) -> dict[tuple[str, str], int]:
    rows = await deployment.rows("SELECT owner, kind, credits_minor - debits_minor AS balance FROM account")
    return {(row["owner"], row["kind"]): row["balance"] for row in rows}


async def _until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG_S):
        while not await what():
            await asyncio.sleep(0.05)


async def _append_raw(deployment: Deployment, shard: int, raw: bytes) -> int:
    producer = AIOKafkaProducer(**kafka_access(deployment.settings), acks="all")
    await producer.start()
    try:
        return int((await producer.send_and_wait(deployment.topic, raw, partition=shard)).offset)
    finally:
        await producer.stop()


async def _check_chain(deployment: Deployment, shard: int) -> None:
    """Every record of the log up to where the shard is settled, in the ledger's chain."""
    (row,) = await deployment.rows(
        "SELECT next_offset, chain, (SELECT count(*) FROM record r WHERE r.shard = s.shard) AS records"
        " FROM shard s WHERE shard = $1",
        shard,
    )
    consumer = AIOKafkaConsumer(**kafka_access(deployment.settings), enable_auto_commit=False)
    await consumer.start()
    try:
        partition = TopicPartition(deployment.topic, shard)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        chain = bytes(32)
        async with asyncio.timeout(LONG_S):
            for offset in range(row["next_offset"]):
                record = await consumer.getone(partition)
                assert record.offset == offset
                chain = link(chain, record.value or b"")
    finally:
        await consumer.stop()
    assert chain == row["chain"]
    assert row["records"] == row["next_offset"]


async def test_a_contradictory_claim_freezes_its_packet_only_until_it_is_rejected(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet, other = await deployment.sent(worker, "alice", 900, 3), await deployment.sent(worker, "alice", 900, 3)
        bob = claimed(await worker.path.claim_share(packet, "bob"))
        forged = ShareClaimed(str(packet), "mallory", bob.share, 1, 2)
        (letter,) = await _contradict(deployment, worker, packet.shard, forged)
        assert (letter.subject, letter.at_ms, letter.decision) == (str(packet), AT_MS, "")
        assert letter == await find_letter(deployment.settings, letter.name)

        again = await worker.path.claim_share(packet, "bob")
        assert (claimed(again), again.fresh) == (bob, False)
        assert (await worker.path.claim_share(packet, "carol")).result == Refused("frozen")
        assert (await worker.path.claim_share(packet, "mallory")).result == Refused("frozen")
        claimed(await worker.path.claim_share(other, "carol"))
        reader = PacketReader(worker.client, worker.loader)
        assert (await reader.packet(packet)).head.taken == 1
        assert [claim.owner for claim in (await reader.claims(packet, 0, 10)).claims] == ["bob"]

        # Lost or not, Redis does not forget it.
        await deployment.flush_redis()
        await deployment.wait_open()
        assert (await worker.path.claim_share(packet, "carol")).result == Refused("frozen")

        await reject_letter(deployment.settings, letter.name)
        await deployment.wait_open()
        claims = [claimed(await worker.path.claim_share(packet, owner)) for owner in ("bob", "carol", "dave")]
        assert sorted(claim.share for claim in claims) == [1, 2, 3]
        assert (await worker.path.claim_share(packet, "mallory")).result == Refused("sold_out")
        await deployment.settled(worker)
        assert ("mallory", "wallet") not in await _balances(deployment)
        assert [it.decision for it in await list_letters(deployment.settings, decided=True)] == ["rejected"]
        assert await list_letters(deployment.settings, decided=False) == []


async def test_a_shard_is_opened_anew_once_for_a_contradiction(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 900, 3)
        await _contradict(deployment, worker, packet.shard, ShareClaimed(str(packet), "mallory", 4, 1, 1))
        epoch = (await fence_state(worker.client, packet.shard)).epoch
        # Its owner looks at the fence and at the ledger four times a second each.
        for _ in range(10):
            await asyncio.sleep(0.1)
            assert (await fence_state(worker.client, packet.shard)).epoch == epoch
        assert (await worker.path.claim_share(packet, "bob")).result == Refused("frozen")


async def test_a_contradictory_send_freezes_its_senders_wallet(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 1_000))
        first = found(await deployment.send(worker, "alice", 300, 3, key="k"))
        packet = OperationId(int(first.id[:2], 16), int(first.id[2:6], 16), first.id[6:])
        (letter,) = await _contradict(deployment, worker, packet.shard, PacketOpened(first.id, TERMS, "c" * 64))
        assert letter.subject == "wallet:alice"

        assert found(await deployment.send(worker, "alice", 300, 3, key="k")) == first
        assert (await deployment.send(worker, "alice", 300, 3)).result == Refused("frozen")
        claimed(await worker.path.claim_share(packet, "bob"))
        found(await deployment.top_up(worker, "alice", 500))

        await reject_letter(deployment.settings, letter.name)
        await deployment.wait_open()
        found(await deployment.send(worker, "alice", 1_200, 3))
        assert (await deployment.send(worker, "alice", 1, 1)).result == Refused("short")


async def test_a_contradictory_top_up_freezes_nothing(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        topped = found(await deployment.top_up(worker, "alice", 1_000, key="k"))
        event = WalletToppedUp(topped.id, TopUpTerms("boss", "alice", "CNY", 999))
        (letter,) = await _contradict(deployment, worker, deployment.shard_of("boss"), event)
        assert letter.subject == ""
        assert found(await deployment.top_up(worker, "alice", 1_000, key="k")) == topped
        found(await deployment.top_up(worker, "bob", 10))
        found(await deployment.send(worker, "alice", 1_000, 3))


async def _claims_before_their_packet(deployment: Deployment, worker: Worker, claims: int) -> list[Letter]:
    """Claims that the ledger has set aside since it did not know their packet, which it knows now."""
    packet = OperationId(deployment.shard_of("alice"), AT_MS // 86_400_000, secrets.token_hex(16))
    events = (ShareClaimed(str(packet), f"p{n}", n, 10, n) for n in range(1, claims + 1))
    letters = await _contradict(deployment, worker, packet.shard, *events)
    opened = PacketOpened(str(packet), TERMS, "c" * 64)
    batch = Batch(await _epoch(deployment, packet.shard), 98, AT_MS, (opened,))
    await worker.producer.append(packet.shard, batch)
    await deployment.settled(worker)
    return letters


async def test_a_replay_that_agrees_moves_money_exactly_once(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        first, second = await _claims_before_their_packet(deployment, worker, 2)
        packet = OperationId(int(first.subject[:2], 16), int(first.subject[2:6], 16), first.subject[6:])
        assert await replay_letter(deployment.settings, first.name) == Replayed("applied")
        await deployment.wait_open()
        # Frozen as long as one letter is undecided; but what is in the ledger is known.
        p1 = await worker.path.claim_share(packet, "p1")
        assert (claimed(p1).share, claimed(p1).at_ms, p1.fresh) == (1, AT_MS, False)
        assert (await worker.path.claim_share(packet, "p2")).result == Refused("frozen")

        # As after a command that was cut off when it had published the second.
        event = ShareClaimed(str(packet), "p2", 2, 10, 2)
        await worker.producer.append(packet.shard, Batch(await _epoch(deployment, packet.shard), 0, AT_MS, (event,)))
        await deployment.settled(worker)
        assert await replay_letter(deployment.settings, second.name) == Replayed("repeated")
        await deployment.wait_open()
        assert claimed(await worker.path.claim_share(packet, "p2")).share == 2

        balances = await _balances(deployment)
        assert (balances["p1", "wallet"], balances["p2", "wallet"], balances["alice", "escrow"]) == (10, 10, 10)
        await _check_chain(deployment, packet.shard)


async def test_a_replay_that_contradicts_again_is_a_letter_of_its_own(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 900, 3)
        forged = ShareClaimed(str(packet), "mallory", 4, 1, 1)
        (letter,) = await _contradict(deployment, worker, packet.shard, forged)
        replayed = await replay_letter(deployment.settings, letter.name)
        assert replayed.outcome == "set aside"
        (again,) = await list_letters(deployment.settings, decided=False)
        assert replace(again, name=letter.name, set_aside_at=letter.set_aside_at) == letter
        assert again.name == replayed.again
        await deployment.wait_open()
        assert (await worker.path.claim_share(packet, "bob")).result == Refused("frozen")
        await reject_letter(deployment.settings, again.name)
        await deployment.wait_open()
        claimed(await worker.path.claim_share(packet, "bob"))


async def test_nobody_decides_twice_nor_at_once_nor_about_nothing(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        first, second = await _claims_before_their_packet(deployment, worker, 2)
        await reject_letter(deployment.settings, first.name)
        for decide in (reject_letter, replay_letter):
            with pytest.raises(LetterError, match="was rejected at"):
                await decide(deployment.settings, first.name)
            with pytest.raises(LetterError, match="there is no dead letter"):
                await decide(deployment.settings, LetterName(0, 10**9, 0))
        other = await asyncpg.connect(deployment.settings.postgres_url)
        await other.execute("BEGIN")
        await other.execute("SELECT FROM dead_letter FOR UPDATE")
        with pytest.raises(LetterError, match="somebody else"):
            await replay_letter(deployment.settings, second.name)
        await other.close()
        assert await replay_letter(deployment.settings, second.name) == Replayed("applied")


async def test_a_letter_of_a_version_that_kept_no_event_can_only_be_rejected(deployment: Deployment) -> None:
    async with deployment.ledger():
        await deployment.rows(
            "INSERT INTO dead_letter (shard, kafka_offset, item, reason, event) VALUES (0, 0, 0, 'old', 'an event')"
        )
        with pytest.raises(LetterError, match="can only be rejected"):
            await replay_letter(deployment.settings, LetterName(0, 0, 0))
        await reject_letter(deployment.settings, LetterName(0, 0, 0))


@asynccontextmanager
async def _held(deployment: Deployment, shard: int, raw: bytes) -> AsyncIterator[LetterName]:
    """The shard held by a record that no version can decode."""
    name = LetterName(shard, await _append_raw(deployment, shard, raw), -1)

    async def is_listed() -> bool:
        return name in [letter.name for letter in await list_letters(deployment.settings, decided=False)]

    await _until(is_listed)
    yield name


def _held_metric(shard: int) -> float:
    return float(metrics.SHARD_HELD.labels(shard)._value.get())


async def test_an_undecodable_record_keeps_its_shard_from_being_blessed_until_it_is_rejected(
    deployment: Deployment,
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 900, 3)
        found(await deployment.top_up(worker, "bob", 10))
        claimed(await worker.path.claim_share(packet, "bob"))
        async with _held(deployment, packet.shard, b"junk") as name:
            # What is open goes on, and is settled later.
            carol = claimed(await worker.path.claim_share(packet, "carol"))
            await deployment.flush_redis()
            await _until(lambda: _all_open_but(worker, deployment, packet.shard))
            with pytest.raises(ShardClosedError):
                await worker.path.claim_share(packet, "dave")
            (row,) = await deployment.rows("SELECT next_offset FROM shard WHERE shard = $1", packet.shard)
            assert row["next_offset"] == name.kafka_offset
            assert _held_metric(packet.shard) == 1
            await Conservation(worker.books).compare(packet.shard)
            assert REGISTRY.get_sample_value("redpacket_shard_dead_letters_waiting", {"shard": str(packet.shard)}) == 1

            async def lags() -> bool:
                """The junk itself, and carol's claim behind it at least."""
                lag = REGISTRY.get_sample_value("redpacket_shard_lag_records", {"shard": str(packet.shard)})
                return lag is not None and lag >= 2

            await _until(lags)
            letter = await find_letter(deployment.settings, name)
            assert (letter.packed, letter.subject, letter.event) == (b"junk", "", "")

            await reject_letter(deployment.settings, name)
            await deployment.wait_open()
            assert _held_metric(packet.shard) == 0
        again = await worker.path.claim_share(packet, "carol")
        assert (claimed(again), again.fresh) == (carol, False)
        claimed(await worker.path.claim_share(packet, "dave"))
        await deployment.settled(worker)
        (row,) = await deployment.rows(
            "SELECT applied, repeated, ignored FROM record WHERE shard = $1 AND kafka_offset = $2",
            packet.shard,
            name.kafka_offset,
        )
        assert tuple(row) == (0, 0, 1)
        await _check_chain(deployment, packet.shard)


async def _all_open_but(worker: Worker, deployment: Deployment, held: int) -> bool:
    try:
        states = [await fence_state(worker.client, shard) for shard in range(deployment.settings.shards)]
    except ShardClosedError:
        return False
    # Its opening has begun, and was no later than theirs.
    assert not states[held].open
    return states[held].epoch > 0 and all(state.open for shard, state in enumerate(states) if shard != held)


async def test_a_held_record_stays_held_over_a_restart_and_a_replay_that_fails(deployment: Deployment) -> None:
    async with deployment.worker() as worker:
        async with deployment.ledger():
            packet = await deployment.sent(worker, "alice", 900, 3)
            async with _held(deployment, packet.shard, b"\xff" * 40) as name:
                before = await find_letter(deployment.settings, name)
                assert await replay_letter(deployment.settings, name) == Replayed("tried")

                async def is_held_again() -> bool:
                    letter = await find_letter(deployment.settings, name)
                    return not letter.decision and letter.set_aside_at > before.set_aside_at

                await _until(is_held_again)
                claimed(await worker.path.claim_share(packet, "bob"))
        # Redis is as it was: the next owner finds the shard open, and held.
        async with deployment.ledger():
            await reject_letter(deployment.settings, name)
            await deployment.settled(worker)
            await deployment.wait_open()
            claimed(await worker.path.claim_share(packet, "bob"))
            await _check_chain(deployment, packet.shard)


@pytest.mark.parametrize(
    ("owner", "at_ms"),
    [
        ("m\0llory", AT_MS),  # no text of Postgres
        ("mallory", 2**63 - 1),  # no time
    ],
)
async def test_of_many_records_only_the_one_that_postgres_refuses_is_held(
    deployment: Deployment, owner: str, at_ms: int
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 900, 3)
        epoch = await _epoch(deployment, packet.shard)
        before, poison, behind = (
            Batch(epoch, 90, AT_MS, (ShareClaimed(str(packet), "p1", 1, 300, 1),)),
            Batch(epoch, 91, at_ms, (ShareClaimed(str(packet), owner, 3, 300, 3),)),
            Batch(epoch, 92, AT_MS, (ShareClaimed(str(packet), "p2", 2, 300, 2),)),
        )
        batches = (before, poison, behind)
        offsets = await asyncio.gather(*(worker.producer.append(packet.shard, batch) for batch in batches))

        async def is_held() -> bool:
            return [it.name for it in await list_letters(deployment.settings, decided=False)] == [
                LetterName(packet.shard, offsets[1], -1)
            ]

        await _until(is_held)
        letter = await find_letter(deployment.settings, LetterName(packet.shard, offsets[1], -1))
        assert "ShareClaimed" in letter.event
        assert ("p1", "wallet") in await _balances(deployment)
        await reject_letter(deployment.settings, letter.name)
        await deployment.settled(worker)
        balances = await _balances(deployment)
        assert (balances["p1", "wallet"], balances["p2", "wallet"], balances["alice", "escrow"]) == (300, 300, 300)
        await deployment.wait_open()
        assert claimed(await worker.path.claim_share(packet, "carol")).share == 3


async def test_the_commands_list_show_and_decide(deployment: Deployment, tmp_path: Path) -> None:
    async def run(*args: str) -> tuple[int, str]:
        command = ("deadletters", *args, "--data", str(tmp_path / "none"))
        status, out, error = await run_command(*command, environ=settings_environ(deployment.settings))
        return status, out + error

    async with deployment.ledger(), deployment.worker() as worker:
        assert await run("list") == (0, "Nothing is set aside.\n")
        first, second, third = await _claims_before_their_packet(deployment, worker, 3)
        _, listed = await run("list")
        names = [str(letter.name) for letter in (first, second, third)]
        assert [line.split()[0] for line in listed.splitlines()[1:]] == names
        for (*args, status), says in {
            ("show", names[0], 0): first.subject,
            ("replay", names[0], 0): "It is applied.",
            ("reject", names[1], 0): "is rejected",
            ("reject", names[1], 1): "was rejected at",
            ("replay", "0-1000000-0", 2): "there is no dead letter 0-1000000-0",
            ("show", "nonsense", 2): "names no dead letter",
        }.items():
            ended, said = await run(*args)
            assert (ended, says in said) == (status, True), said
        assert (await run("list", "--json"))[1].count('"letter"') == 1
        assert (await run("list", "--json", "--all"))[1].count('"letter"') == 3
