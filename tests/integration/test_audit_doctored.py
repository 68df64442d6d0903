"""`redpacket audit` on what somebody has doctored: each is caught, and what differs is named."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from ledger.audit.findings import Findings
from redpacket.events import ShareClaimed
from redpacket.ids import OperationId
from redpacket.stack.local import LocalServers
from tests.audited import assert_holds, audited
from tests.deployment import LONG_S, Deployment, claimed, create_database, database_url, installed, over


@dataclass
class Books:
    """An honest ledger: of `packet` bob and carol have a share, of `closed` bob has one and the rest went back."""

    deployment: Deployment
    packet: OperationId
    closed: OperationId

    async def doctor(self, *statements: str) -> None:
        """What no code of ours does, without triggers. $packet and $closed are the packets' ids."""
        name = urlsplit(self.deployment.settings.postgres_url).path.removeprefix("/")
        connection = await asyncpg.connect(database_url(self.deployment.servers.postgres.superuser_url, name))
        try:
            await connection.execute("SET session_replication_role = replica")
            for sql in statements:
                done = await connection.execute(
                    sql.replace("$packet", f"'{self.packet}'").replace("$closed", f"'{self.closed}'")
                )
                assert not done.endswith(" 0"), f"{sql} has changed nothing"
        finally:
            await connection.close()

    async def audited(self) -> Findings:
        return await audited(self.deployment.settings)

    @asynccontextmanager
    async def forged(self, key: str, fields: Mapping[Any, Any]) -> AsyncIterator[None]:
        """Some fields of one of the present epoch's keys of `packet`, as long as the body runs."""
        async with self.deployment.redis() as redis:
            fence: Mapping[Any, Any] = await redis.hgetall(f"{{rp{self.packet.shard}}}fence")
            epoch = fence[b"epoch"].decode()
            name = f"{{rp{self.packet.shard}}}{epoch}:{key}"
            before: Mapping[Any, Any] = await redis.hgetall(name)
            if fields:
                await redis.hset(name, mapping=fields)
            try:
                yield
            finally:
                await redis.delete(name)
                if before:
                    await redis.hset(name, mapping=before)


@pytest.fixture(scope="module")
async def honest(servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Books]:
    """Made once. Nothing works on it any more when the tests begin."""
    async with installed(servers, tmp_path_factory.mktemp("doctored") / "keys") as deployment:
        async with deployment.ledger(), deployment.worker() as worker:
            packet = await deployment.sent(worker, "alice", 1_000, 5)
            for owner in ("bob", "carol"):
                claimed(await worker.path.claim_share(packet, owner))
            closed = await deployment.sent(worker, "dave", 500, 3)
            claimed(await worker.path.claim_share(closed, "bob"))
            over(await worker.path.close_packet(closed, "closed"))
            await deployment.settled(worker)
        yield Books(deployment, packet, closed)


@pytest.fixture
async def books(honest: Books) -> Books:
    """A copy of the database, for this test to spoil."""
    url = honest.deployment.settings.postgres_url
    name = urlsplit(url).path.removeprefix("/")
    copy = f"{name}_{secrets.token_hex(4)}"
    async with asyncio.timeout(LONG_S):
        while True:
            with suppress(asyncpg.ObjectInUseError):  # a session that has just ended is there for a moment
                await create_database(honest.deployment.servers.postgres.superuser_url, copy, name)
                break
            await asyncio.sleep(0.1)
    settings = msgspec.structs.replace(honest.deployment.settings, postgres_url=database_url(url, copy))
    return replace(honest, deployment=replace(honest.deployment, settings=settings))


def assert_caught(findings: Findings, **named: str) -> None:
    """Each invariant is violated, in a sentence that has all these words."""
    assert findings.exit_status == 1
    for invariant, words in named.items():
        sentences = findings.violations[invariant].sentences
        assert any(all(word in sentence for word in words.split("|")) for sentence in sentences), (
            invariant,
            words,
            sentences,
        )


# A whole claim, out of everything that has a sum.
LOSE_CAROL = (
    "UPDATE packet k SET claimed_shares = 1, last_sequence = 1, claimed_minor = claimed_minor - c.amount_minor"
    " FROM claim c WHERE c.packet = k.id AND c.owner = 'carol'",
    "UPDATE account a SET debits_minor = debits_minor - c.amount_minor, version = version - 1 FROM claim c"
    " WHERE c.owner = 'carol' AND a.owner = 'alice' AND a.kind = 'escrow'",
    "DELETE FROM posting p USING account a WHERE a.id = p.credit_account AND a.owner = 'carol'",
    "DELETE FROM account WHERE owner = 'carol'",
    "DELETE FROM claim WHERE owner = 'carol'",
)
# A whole claim, to another person's wallet.
MOVE_CAROL = (
    "UPDATE account SET owner = 'mallory' WHERE owner = 'carol'",
    "UPDATE claim SET owner = 'mallory' WHERE owner = 'carol'",
)
# One fen more for carol, in all that has a sum.
RAISE_CAROL = (
    "UPDATE packet SET claimed_minor = claimed_minor + 1 WHERE id = $packet",
    "UPDATE account SET debits_minor = debits_minor + 1 WHERE owner = 'alice' AND kind = 'escrow'",
    "UPDATE account SET credits_minor = credits_minor + 1 WHERE owner = 'carol'",
    "UPDATE posting p SET amount_minor = amount_minor + 1, debit_balance_minor = debit_balance_minor - 1,"
    " credit_balance_minor = credit_balance_minor + 1"
    " FROM account a WHERE a.id = p.credit_account AND a.owner = 'carol'",
    "UPDATE claim SET amount_minor = amount_minor + 1 WHERE owner = 'carol'",
)
REFUND_AGAIN = (
    "ALTER TABLE account DROP CONSTRAINT account_check",
    "INSERT INTO posting SELECT day, shard, kafka_offset, item + 1, kind, operation, debit_account, debit_version + 1,"
    " debit_balance_minor - amount_minor, credit_account, credit_version + 1, credit_balance_minor + amount_minor,"
    " amount_minor, at FROM posting WHERE kind = 'refund'",
    "UPDATE account a SET debits_minor = debits_minor + p.amount_minor, version = version + 1 FROM posting p"
    " WHERE p.kind = 'refund' AND p.item = 0 AND a.id = p.debit_account",
    "UPDATE account a SET credits_minor = credits_minor + p.amount_minor, version = version + 1 FROM posting p"
    " WHERE p.kind = 'refund' AND p.item = 0 AND a.id = p.credit_account",
)
# A top-up of 77 for bob, whole in itself, at an item that the record of another does not have.
MAKE_UP_A_TOP_UP = (
    "INSERT INTO operation SELECT decode(repeat('ab', 16), 'hex'), left(id, 6) || repeat('ab', 16), shard, day, kind,"
    " at, terms FROM operation WHERE kind = 'topup' LIMIT 1",
    "INSERT INTO posting SELECT p.day, p.shard, p.kafka_offset, 5, p.kind, left(p.operation, 6) || repeat('ab', 16),"
    " p.debit_account, f.version + 1, f.credits_minor - f.debits_minor - 77, b.id, b.version + 1,"
    " b.credits_minor - b.debits_minor + 77, 77, p.at"
    " FROM posting p JOIN account f ON f.id = p.debit_account, account b"
    " WHERE b.owner = 'bob' AND p.kind = 'topup'"
    " AND p.operation = (SELECT min(operation) FROM posting WHERE kind = 'topup')",
    "UPDATE account SET credits_minor = credits_minor + 77, version = version + 1 WHERE owner = 'bob'",
    "UPDATE account a SET debits_minor = a.debits_minor + 77, version = a.version + 1 FROM posting p"
    " WHERE p.amount_minor = 77 AND a.id = p.debit_account",
)

OF_PACKET = "shard = (SELECT shard FROM packet WHERE id = $packet)"

CASES = {
    "a lost claim": (
        ("DELETE FROM claim WHERE owner = 'carol'",),
        {
            "I1": "in 2 claims; its 1 claims",
            "I4": "confirmed in Redis for carol|Postgres has nobody",
            "I5": "carol was posted",
        },
    ),
    "an end that nobody would see to": (
        ("DELETE FROM ending WHERE id = $packet",),
        {"I1": "is open, and nobody would ever end it"},
    ),
    "a claim lost everywhere": (
        LOSE_CAROL,
        {"I4": "by carol|moved nothing: the ledger has nothing of it", "I6": "(epoch, applied, repeated, ignored)"},
    ),
    "a doubled share": (
        (
            "ALTER TABLE claim DROP CONSTRAINT claim_pkey",
            "INSERT INTO claim SELECT day, packet, share, 'mallory', 9, amount_minor, claimed_at"
            " FROM claim WHERE owner = 'carol'",
        ),
        {"I1": "in 2 claims; its 3 claims", "I2": "has 2 claims|carol|mallory", "I5": "by mallory|has 0 postings"},
    ),
    "a doubled person": (
        (
            "ALTER TABLE claim DROP CONSTRAINT claim_day_packet_owner_key",
            "INSERT INTO claim SELECT day, packet, 5, owner, 9, 7, claimed_at FROM claim WHERE owner = 'carol'",
        ),
        {"I1": "in 2 claims; its 3 claims", "I3": "carol has 2 claims|5 with 7"},
    ),
    "an amount off by one": (
        ("UPDATE claim SET amount_minor = amount_minor + 1 WHERE owner = 'carol'",),
        {"I1": "in 2 claims; its 2 claims have", "I4": "confirmed in Redis for carol", "I6": "by carol|claim_minor is"},
    ),
    "an amount off by one everywhere": (
        RAISE_CAROL,
        {"I4": "for carol with", "I6": "by carol|amount_minor is|claim_minor is"},
    ),
    "a claim moved to another person": (
        ("UPDATE claim SET owner = 'mallory' WHERE owner = 'carol'",),
        {"I4": "confirmed in Redis for carol|Postgres has mallory", "I5": "by mallory|has 0 postings"},
    ),
    "a claim moved everywhere": (
        MOVE_CAROL,
        {"I4": "for carol|Postgres has mallory", "I6": "by carol|claim_owner is 'mallory', the log says 'carol'"},
    ),
    "a refund too many": (REFUND_AGAIN, {"I1": "the escrow of dave|has -", "I5": "2 refunded it"}),
    "an entry never asked for": (
        MAKE_UP_A_TOP_UP,
        {"I5": "was never asked for|77 from the funding|to the wallet of bob"},
    ),
    "a balance that is not the sum of its entries": (
        ("UPDATE account SET credits_minor = credits_minor + 1 WHERE owner = 'carol'",),
        {"I1": "the wallet of carol|its 1 postings make"},
    ),
    "a statement that does not add up": (
        ("UPDATE posting SET debit_balance_minor = debit_balance_minor + 1 WHERE kind = 'refund'",),
        {"I1": "the escrow of dave: version|a movement of -"},
    ),
    "a cut chain": (
        (
            "UPDATE record SET chain = decode(repeat('00', 32), 'hex')"
            " WHERE kafka_offset = 1 AND shard = (SELECT shard FROM packet WHERE id = $packet)",
        ),
        {"I8": "/1: the chain is cut: it is 0000"},
    ),
    "another head": (
        (
            "UPDATE shard SET chain = decode(repeat('11', 32), 'hex')"
            " WHERE shard = (SELECT shard FROM packet WHERE id = $packet)",
        ),
        {"I8": "chain ends in 1111"},
    ),
    "a record that is gone": (
        ("DELETE FROM record WHERE kafka_offset = 1 AND shard = (SELECT shard FROM packet WHERE id = $packet)",),
        {"I8": "/1 is in the log and not in the ledger"},
    ),
    "a Fence that the log does not have": (
        (f"UPDATE shard SET epoch_fenced = epoch_fenced + 9 WHERE {OF_PACKET}",),
        {"I6": "the ledger's highest Fence is 10, the log's 1"},
    ),
    "other terms": (
        ("UPDATE packet SET greeting = 'Hello' WHERE id = $packet",),
        {"I6": "greeting is 'Hello', the log says 'Happy New Year'"},
    ),
    "another split": (
        ("UPDATE packet SET cap_minor = 999 WHERE id = $packet",),
        {"I2": "the seed gives", "I6": "cap_minor is 999, the log says 1000"},
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_was_doctored_is_caught_and_named(books: Books, case: str) -> None:
    statements, named = CASES[case]
    await books.doctor(*statements)
    assert_caught(await books.audited(), **named)


async def test_what_is_changed_behind_the_mark_is_noticed(books: Books) -> None:
    assert_holds(await books.audited())
    await books.doctor(
        "UPDATE claim SET sequence = 3 WHERE owner = 'carol'", "UPDATE packet SET last_sequence = 3 WHERE id = $packet"
    )
    findings = await books.audited()
    assert sum(it.records for it in findings.shards) == 0
    assert_caught(findings, I6="something settled was changed")
    assert_caught(await audited(books.deployment.settings, "start"), I6="by carol|sequence is 3, the log says 2")


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE record SET chain = decode(repeat('00', 32), 'hex') WHERE kafka_offset = 1 AND {OF_PACKET}",
        f"UPDATE record SET applied = 0, ignored = 1 WHERE kafka_offset = 1 AND {OF_PACKET}",
        "DELETE FROM dead_letter",
    ],
)
async def test_a_record_or_a_letter_that_is_changed_behind_the_mark_is_noticed(books: Books, statement: str) -> None:
    # Of a record that once held its shard, and was settled when it was tried again.
    await books.doctor(
        "INSERT INTO dead_letter (shard, kafka_offset, item, subject, reason, event, decision, decided_at)"
        " SELECT shard, 1, -1, '', 'refused', '', 'replayed', now() FROM packet WHERE id = $packet"
    )
    assert_holds(await books.audited())
    await books.doctor(statement)
    assert_caught(await books.audited(), I6="something settled was changed")


async def test_a_chain_that_was_written_anew_behind_the_mark_is_noticed(books: Books) -> None:
    assert_holds(await books.audited())
    await books.doctor(
        "UPDATE record SET chain = decode(repeat('11', 32), 'hex')",
        "UPDATE shard SET chain = decode(repeat('11', 32), 'hex') WHERE next_offset > 0",
    )
    assert_caught(await books.audited(), I8="its chain ended in|now 1111")


async def test_marks_are_kept_only_by_an_audit_in_which_all_held(books: Books) -> None:
    await books.doctor("UPDATE account SET credits_minor = credits_minor + 1 WHERE owner = 'carol'")
    assert_caught(await books.audited(), I1="carol")
    assert await books.deployment.rows("SELECT * FROM audit_mark") == []
    await books.doctor("UPDATE account SET credits_minor = credits_minor - 1 WHERE owner = 'carol'")
    assert_holds(await books.audited())
    marks = await books.deployment.rows("SELECT next_offset, chain FROM audit_mark ORDER BY shard")
    assert marks == await books.deployment.rows("SELECT next_offset, chain FROM shard ORDER BY shard")


async def _held(books: Books, key: str) -> dict[str, bytes]:
    async with books.deployment.redis() as redis:
        (name,) = [it async for it in redis.scan_iter(f"*:{key}")]
        held: Mapping[Any, Any] = await redis.hgetall(name)
    return {field.decode(): value for field, value in held.items()}


@pytest.mark.parametrize(
    ("held", "named"),
    [
        ("1 1 {at} 0", "share 1|confirmed in Redis for carol|Postgres has bob"),
        ("2 5 {at} 0", "share 2|confirmed in Redis for carol with|sequence 5"),
        ("4 2 {at} 0", "share 4|confirmed in Redis for carol|Postgres has nobody"),
    ],
)
async def test_a_claim_in_redis_that_differs_from_the_ledger_is_caught(books: Books, held: str, named: str) -> None:
    key = f"claims:{books.packet.identity}"
    at = (await _held(books, key))["carol"].split()[2].decode()
    async with books.forged(key, {"carol": held.format(at=at)}):
        assert_caught(await books.audited(), I4=named)


async def test_a_claim_that_only_redis_has_is_caught(books: Books) -> None:
    async with books.forged(f"claims:{books.packet.identity}", {"mallory": "3 3 1 0", "#3": "mallory"}):
        assert_caught(await books.audited(), I4="confirmed in Redis for mallory|Postgres has nobody")


@pytest.mark.parametrize(
    ("owner", "fields", "named"),
    [
        ("alice", {"credited": "1001"}, "credits of 1001 in Redis, of 1000 in Postgres"),
        ("nobody", {"credited": "1", "reserved": "0"}, "credits of 1 in Redis, of 0 in Postgres"),
        ("alice", {"credited": "junk"}, "is damaged in Redis"),
        ("alice", {"credited": "9e30"}, "is damaged in Redis"),
    ],
)
async def test_a_wallet_with_more_in_redis_than_it_ever_got_is_caught(
    books: Books, owner: str, fields: Mapping[Any, Any], named: str
) -> None:
    assert_holds(await books.audited())
    async with books.forged(f"wallet:{owner}", fields):
        assert_caught(await books.audited(), I4=f"wallet|{owner}|{named}")


@pytest.mark.parametrize(
    ("key", "fields", "named"),
    [
        ("claims", {"mallory": "junk"}, "share 0 of packet|confirmed in Redis for mallory|Postgres has nobody"),
        ("claims", {"mallory": f"{2**40} 3 1 0"}, "is damaged in Redis|mallory"),
        ("claims", {"mallory": f"3 3 {'9' * 31} 0"}, "is damaged in Redis"),
        ("claims", {b"\xff\xfe": "3 3 1 0"}, "is damaged in Redis"),
        ("claims", {"mal\0lory": "3 3 1 0"}, "is damaged in Redis"),
        ("op", {"terms": b"\xff\xfe"}, "is damaged in Redis"),
        ("op", {"terms": "junk"}, "is damaged in Redis"),
        ("op", {"id": "junk"}, "is damaged in Redis|its id is 'junk'"),
        ("op", {"at": "9e30"}, "is damaged in Redis"),
        ("op", {"entry": "junk"}, "is damaged in Redis"),
        ("op", {"shares": "junk"}, "is damaged in Redis"),
        ("op", {"next": "junk"}, "is damaged in Redis"),
    ],
)
async def test_what_is_damaged_in_redis_is_named_and_the_rest_compared(
    books: Books, key: str, fields: Mapping[Any, Any], named: str
) -> None:
    await books.doctor("UPDATE operation SET at = at + interval '1 second' WHERE id = $closed")
    async with books.forged(f"{key}:{books.packet.identity}", fields):
        findings = await books.audited()
    assert_caught(findings, I4=f"{books.packet.identity}|{named}")
    assert_caught(findings, I4=f"{books.closed}|its at is")


async def test_an_operation_that_only_redis_has_is_caught(books: Books) -> None:
    held = await _held(books, f"op:{books.packet.identity}")
    forged = {"id": str(books.packet)[:6] + "f" * 32} | {name: held[name] for name in ("at", "terms", "entry")}
    async with books.forged(f"op:{'f' * 32}", forged):
        assert_caught(await books.audited(), I4="operation|fff is confirmed in Redis|Postgres has nothing of it")


async def test_a_packet_that_is_closed_in_redis_alone_is_caught(books: Books) -> None:
    async with books.forged(f"op:{books.packet.identity}", {"state": "closed", "over_at": "7", "refund_entry": "0"}):
        assert_caught(
            await books.audited(), I4=f"{books.packet} is confirmed in Redis|state is 'closed'|'open' in Postgres"
        )


@pytest.mark.parametrize(
    ("decision", "status"), [("NULL, NULL", 2), ("'rejected', now()", 0), ("'replayed', now()", 1)]
)
async def test_what_redis_has_confirmed_and_the_ledger_has_set_aside_is_unchecked_until_a_person_rejects_it(
    books: Books, decision: str, status: int
) -> None:
    packed = msgspec.msgpack.encode(ShareClaimed(str(books.packet), "mallory", 1, 7, 3)).hex()
    await books.doctor(
        "INSERT INTO dead_letter"
        " (shard, kafka_offset, item, subject, reason, event, packed, at_ms, decision, decided_at)"
        f" VALUES ({books.packet.shard}, 999, 0, $packet, 'the ledger holds another', '', decode('{packed}', 'hex'), 1,"
        f" {decision})"
    )
    claims, operation = f"claims:{books.packet.identity}", f"op:{books.packet.identity}"
    async with (
        books.forged(claims, {"mallory": "1 3 1 0", "#3": "mallory"}),
        books.forged(operation, {"next": "3", "taken": "3", "sequence": "3"}),
    ):
        findings = await books.audited()
    assert findings.exit_status == status
    match status:
        case 0:
            assert findings.figures["I4"]["set aside, rejected"] == 1
            assert findings.notes == ["1 dead letters were rejected: whoever was told of them was told wrong"]
        case 1:
            assert_caught(findings, I4="confirmed in Redis for mallory|Postgres has bob")
        case 2:
            assert findings.figures["I4"]["set aside, waiting for a person"] == 1
            assert findings.unchecked == ["1 dead letters wait for a person: see `redpacket deadletters list`"]
            assert await books.deployment.rows("SELECT * FROM audit_mark") == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"next": "1", "taken": "1"}, "2 claims, 1 taken of 1 handed out"),
        ({"next": "1"}, "2 claims, 2 taken of 1 handed out"),
        ({"split": msgspec.msgpack.encode(["lucky", 1_000, 5, 100, 1])}, "its split is not that of its terms"),
    ],
)
async def test_a_packet_of_which_redis_would_give_out_a_share_again_is_caught(
    books: Books, fields: Mapping[str, Any], named: str
) -> None:
    async with books.forged(f"op:{books.packet.identity}", fields):
        assert_caught(await books.audited(), I2=f"{books.packet} does not fit together in Redis|{named}")


async def test_a_claim_that_redis_has_lost_of_a_packet_it_holds_is_caught(books: Books) -> None:
    key = f"claims:{books.packet.identity}"
    held: Mapping[Any, Any] = await _held(books, key)
    async with books.forged(key, {}), books.deployment.redis() as redis:
        (name,) = [it async for it in redis.scan_iter(f"*:{key}")]
        await redis.hdel(name, "carol", "#2")
        assert_caught(await books.audited(), I2="does not fit together in Redis|1 claims, 2 taken")
        await redis.hset(name, mapping=held)
