"""What a statement costs Postgres does not grow with the days of service: it looks at the days that it needs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

import asyncpg
import pytest
from msgspec import Struct

from ledger.audit.findings import AuditError
from ledger.install import install
from ledger.owner.conservation import Conservation
from ledger.trace.gather import gather_story
from redpacket.books import entries
from redpacket.books.locks import lock_shortage
from redpacket.ids import OperationId
from redpacket.sql import of_days, read_queries
from service.statements import Statements
from tests.audited import assert_holds, audited
from tests.deployment import LONG_S, Deployment, Worker, claimed, over
from tests.history import OWNER, make_history, past_days, sealed, statement_of

# Those of the ledger's rooms, each by its name; what the audit reads is the whole ledger, by design.
# Blocks more where an index has one level more: a few, or for each row that is written two (once a day).
_DEEPER = {"ledger.owner keep_account_day": 12}
ROOMS = ("redpacket.books", "ledger.settle", "ledger.owner", "ledger.trace", "ledger.deadletters")
# How the worker's connection plans.
SESSION = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}

# One small row of one table for each day, a hundred and more in a block: when a process starts, for a person who knows
# no day, and every 5 s by one worker of all.
READ_EACH_DAYS_ROW = {"redpacket.books locks", "ledger.trace days", "ledger.owner next_to_seal"}

# Of packets, claims and postings.
_RELATIONS_OF_A_DAY = 11


class Cost(Struct, frozen=True):
    """`locks`: tables and indexes that it locks; `blocks`: looked at to make its plan, and to run it."""

    locks: int
    blocks: int


@asynccontextmanager
async def planning_as_a_worker(deployment: Deployment) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(deployment.settings.postgres_url, server_settings=SESSION)
    try:
        yield connection
    finally:
        await connection.close()


async def cost_of(connection: asyncpg.Connection, sql: str, *args: Any) -> Cost:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SAVEPOINT before")
        await connection.fetch(sql, *args)
        locks = await connection.fetchval(
            "SELECT count(DISTINCT l.relation) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
            " WHERE l.pid = pg_backend_pid() AND c.relnamespace = 'public'::regnamespace"
        )
        # Twice: the first look at a table fills the session's memory of it.
        for _ in range(2):
            await connection.execute("ROLLBACK TO before")
            explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *args)
    finally:
        await transaction.rollback()
    (plan,) = json.loads(explained)
    return Cost(locks, sum(_blocks(it) for it in (plan["Plan"], plan.get("Planning", {}))))


def _blocks(counted: Mapping[str, Any]) -> int:
    return int(counted.get("Shared Hit Blocks", 0)) + int(counted.get("Shared Read Blocks", 0))


def arguments(shard: int, packet: OperationId, account: int) -> dict[str, tuple[Any, ...]]:
    """Of every statement, about today's packet and the wallet of its owner."""
    id, day, days, identity = str(packet), packet.date, [packet.date], bytes.fromhex(packet.identity)
    now = datetime.now(UTC)
    return {
        "redpacket.books deployment": (),
        "redpacket.books newest_migration": (),
        "redpacket.books redis": (),
        "redpacket.books epochs_fenced": (),
        "redpacket.books known_identities": (shard, [identity]),
        "redpacket.books operation_snapshots": (shard, [identity]),
        "redpacket.books due_packets": (shard, now, now - timedelta(days=30), "", 200),
        "redpacket.books open_packets": ([id],),
        "redpacket.books wallet_snapshots": (shard, [OWNER]),
        "redpacket.books settled_up_to": (),
        "redpacket.books wallet": (shard, OWNER),
        "redpacket.books wallet_days": (shard, OWNER, 0, 16, False),
        "redpacket.books account_entries": (account, 0, 2**40, 2),
        "redpacket.books settled_operations": ([identity],),
        "redpacket.books settled_shares": (id, [1]),
        "redpacket.books packet_conservation": (id,),
        "redpacket.books ending_days": (shard,),
        "redpacket.books conservation": (shard,),
        "redpacket.books ledger_totals": (),
        "redpacket.books locks": (),
        "ledger.settle ensure_day": (day,),
        "ledger.settle position": (shard,),
        "ledger.settle advance": (shard, 0, 1),
        "ledger.settle finish": (shard, 1, bytes(32), 0),
        "ledger.settle held_operations": ([identity],),
        "ledger.settle held_packets": (days, [id], [identity]),
        "ledger.settle held_claims": (days, [id], [1], ["alice"]),
        "ledger.settle open_accounts": ([shard], [OWNER], ["wallet"]),
        "ledger.settle move_accounts": ([shard], [OWNER], ["wallet"], [0], [0], [0]),
        "ledger.settle move_packets": (days, [id], ["open"], [1], [1], [1], [0], [None]),
        "ledger.settle hold": (shard, 10**9, "", "", b""),
        "ledger.owner take_epoch": (shard, 0, 1),
        "ledger.owner generation": (shard,),
        "ledger.owner take_epochs": ([shard], [0]),
        "ledger.owner lock_shards": (),
        "ledger.owner redis_generation": (),
        "ledger.owner add_redis": (2, "another"),
        "ledger.owner place_shards": (2,),
        "ledger.owner end_standing_sessions": (10.0**6,),
        "ledger.owner fence_settled": (shard, 0),
        "ledger.owner epochs_shut": (),
        "ledger.owner forget_ending": (shard, [now], [id]),
        "ledger.owner next_to_seal": (date.min,),
        "ledger.owner has_open_packets": (),
        "ledger.owner highest_account": (),
        "ledger.owner keep_account_day": (1, 10_000),
        "ledger.owner seal_day": (day,),
        "ledger.trace operation": (id,),
        "ledger.trace postings_of_operation": (id, OWNER, "escrow", shard),
        "ledger.trace days": (),
        "ledger.trace postings_of_request": ("nobody's", 100),
        "ledger.trace letters_of": (id,),
        "ledger.trace next_offset": (shard,),
        "ledger.deadletters letters": (True,),
        "ledger.deadletters letter": (shard, 0, 0),
        "ledger.deadletters lock_letter": (shard, 0, 0),
        "ledger.deadletters decide": (shard, 0, 0, "rejected"),
        "ledger.deadletters shut": (shard,),
        "ledger.deadletters epochs": (shard,),
        "ledger.deadletters outcome": (shard, 0),
    }


async def costs(deployment: Deployment, packet: OperationId) -> dict[str, Cost]:
    shard = deployment.shard_of(OWNER)
    (wallet,) = await deployment.rows("SELECT id FROM account WHERE owner = $1 AND kind = 'wallet'", OWNER)
    asked = arguments(shard, packet, wallet["id"])
    statements = {f"{room} {name}": sql for room in ROOMS for name, sql in read_queries(room).items()}
    assert statements.keys() == asked.keys(), "a statement that is not asked is not known to stay within its days"
    async with planning_as_a_worker(deployment) as connection:
        return {
            name: await cost_of(connection, of_days(sql, [packet.date]), *asked[name])
            for name, sql in statements.items()
        }


@pytest.mark.parametrize("days", [60, pytest.param(1_000, marks=pytest.mark.long)])
async def test_no_statement_looks_at_more_after_many_days_of_service_than_on_the_first(
    deployment: Deployment, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, OWNER, 10, 2)
        claimed(await worker.path.claim_share(packet, OWNER))
        await deployment.settled(worker)
        first = await costs(deployment, packet)
        stuck = past_days(days)[days // 2]
        packets = await make_history(deployment, worker, past_days(days), frozenset({stuck}))
        # The one that was left open is found, however long ago it was due: it is ended.
        ended = "SELECT state FROM packet WHERE id = $1 AND day = $2 AND state = 'expired'"
        async with asyncio.timeout(LONG_S):
            while not await deployment.rows(ended, str(packets[days // 2]), stuck):
                await asyncio.sleep(0.1)
        await deployment.settled(worker)
        await sealed(deployment)
        await deployment.rows("VACUUM (ANALYZE) ledger_day, account_day, ending, account, operation, record")
        now = await costs(deployment, packet)
        grown = {
            name: (first[name], cost)
            for name, cost in now.items()
            if name not in READ_EACH_DAYS_ROW
            and (
                cost.locks > first[name].locks
                or cost.blocks > max(first[name].blocks * 4 / 3, first[name].blocks + _DEEPER.get(name, 6))
            )
        }
        assert grown == {}

        with monkeypatch.context() as patched:
            patched.setattr(entries, "_look_everywhere", _must_not_be)
            await _the_statement_is_whole(deployment, worker, days)
        await Conservation(worker.books).compare(deployment.shard_of(OWNER))
    assert_holds(await audited(deployment.settings))


async def _must_not_be(*_: object) -> NoReturn:
    raise AssertionError("every day is looked at, though what is written down of the sealed ones is whole")


async def _the_statement_is_whole(deployment: Deployment, worker: Worker, days: int) -> None:
    listed = await statement_of(deployment, worker)
    (wallet,) = await deployment.rows(
        "SELECT version, credits_minor - debits_minor AS minor FROM account WHERE owner = $1 AND kind = 'wallet'", OWNER
    )
    assert len(listed) == wallet["version"] > 4 * days
    assert listed[-1].balance_after == sum(it.amount for it in listed) == wallet["minor"]


async def test_sealing_a_day_costs_the_same_however_much_was_moved_on_it(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, OWNER, 10_000, 5_000)
        await deployment.settled(worker)
        (row,) = await deployment.rows("SELECT max(id) AS id FROM account")
        keep = of_days(read_queries("ledger.owner")["keep_account_day"], [packet.date])
        async with planning_as_a_worker(deployment) as connection:
            before = await cost_of(connection, keep, 1, row["id"])
            # All out of one escrow, which is one of these accounts.
            for start in range(0, 5_000, 500):
                claims = (worker.path.claim_share(packet, f"p{n}") for n in range(start, start + 500))
                assert len([claimed(it) for it in await asyncio.gather(*claims)]) == 500
            await deployment.settled(worker)
            await deployment.rows("VACUUM account")  # of what its rows were before each movement
            after = await cost_of(connection, keep, 1, row["id"])
    # An index is a level or two deeper, no more.
    assert (after.locks, after.blocks <= 2 * before.blocks + 10) == (before.locks, True), (before, after)


async def test_a_day_that_is_asked_for_meanwhile_is_not_sealed(deployment: Deployment) -> None:
    day = past_days(5)[0]
    seal = read_queries("ledger.owner")["seal_day"]
    of_day = "SELECT sealed_at FROM ledger_day WHERE day = $1"
    await deployment.rows("SELECT ensure_day($1)", day)
    await deployment.rows(seal, day)
    assert [row["sealed_at"] for row in await deployment.rows(of_day, day)] == [None]
    await deployment.rows("UPDATE ledger_day SET asked_at = asked_at - interval '1 hour' WHERE day = $1", day)
    await deployment.rows(seal, day)
    assert None not in [row["sealed_at"] for row in await deployment.rows(of_day, day)]


async def test_everything_goes_on_while_somebody_holds_an_old_day_for_himself(deployment: Deployment) -> None:
    """The same from outside: who touches a partition that is locked waits. Often enough for Postgres to keep plans."""
    async with deployment.ledger(), deployment.worker() as worker:
        (day,) = past_days(30)[:1]
        await make_history(deployment, worker, [day])
        await sealed(deployment)
        connection = await asyncpg.connect(deployment.settings.postgres_url)
        try:
            async with connection.transaction():
                for table in ("packet", "claim", "posting"):
                    await connection.execute(f"LOCK TABLE {table}_{day:%Y_%m_%d}")
                for n in range(7):
                    packet = await deployment.sent(worker, f"sender-{n}", 10, 2)
                    share = claimed(await worker.path.claim_share(packet, "bob")).share
                    await deployment.settled(worker)
                    await deployment.flush_redis()
                    await deployment.wait_open()
                    # Loaded from the ledger: this one knows the packet.
                    assert claimed(await worker.path.claim_share(packet, "bob")).share == share
                    over(await worker.path.close_packet(packet, "closed"))
                    await deployment.settled(worker)
                    page = await Statements(deployment.settings, worker.books).list_entries(f"sender-{n}", 0, 10)
                    assert len(page.entries) == 3
                    await Conservation(worker.books).compare(packet.shard)
                    assert await worker.books.rows("settled_shares", str(packet), [1], days=[packet.date])
                    await gather_story(deployment.settings, str(packet), None)
        finally:
            await connection.close()


async def test_a_postgres_without_room_for_the_locks_of_all_days_is_told_with_the_numbers(
    deployment: Deployment,
) -> None:
    await deployment.rows("SELECT ensure_day('2026-01-01')")
    relations = "SELECT FROM pg_class WHERE relkind IN ('r', 'i') AND relname ~ '^(packet|claim|posting)_2026_01_01'"
    assert len(await deployment.rows(relations)) == _RELATIONS_OF_A_DAY
    async with deployment.worker() as worker:
        assert await lock_shortage(worker.books) == ""
        (room,) = await worker.books.rows("locks")
        years = room["per_transaction"] * room["sessions"] // (2 * _RELATIONS_OF_A_DAY) // 365
        assert years >= 10, "the local stack's"
        # Days by name alone: so many partitions would take minutes.
        many = "INSERT INTO ledger_day (day) SELECT date '2030-01-01' + n FROM generate_series(1, $1) n"
        await deployment.rows(many, 2 * 365 * (years + 1))
        said = await lock_shortage(worker.books)
        assert re.search(r"room for 1\d\d,\d{3} locks .* of this ledger have \d+,\d+ tables and indexes", said), said
    lines: list[str] = []
    await install(deployment.settings, lines.append)
    assert lines == [said]
    with pytest.raises(AuditError, match="set max_locks_per_transaction to"):
        await audited(deployment.settings)
    async with deployment.ledger():
        pass  # It serves all the same.
