"""Old days are detached by a command, while everything runs: what is asked of them is answered as before."""

import asyncio
import json
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, NoReturn
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from ledger.days import detach
from ledger.days.detach import detach_days
from ledger.trace.gather import gather_story
from redpacket.books import entries
from redpacket.books.locks import lock_shortage
from redpacket.books.snapshots import operation_snapshots
from redpacket.events import Event, ShareClaimed, TopUpTerms, WalletToppedUp
from redpacket.ids import OperationId
from redpacket.log.record import Batch
from redpacket.settings import settings_environ
from redpacket.sql import LIVE_DAYS, read_queries
from redpacket.verify import check_packet
from service.claim_lists import ClaimLists
from service.packets import Packets
from service.reading import PacketReader
from tests.audited import assert_holds, audited
from tests.deployment import LONG_S, Deployment, Worker, claimed, database_url
from tests.history import HISTORY_SPLIT, OWNER, make_history, past_days, sealed, statement_of
from tests.system import COMMAND, run_command

COLUMNS = """
SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0
"""
# A parent takes a partition that has the same.
PARENT = f"""
{COLUMNS}
UNION ALL SELECT 'not null', attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND attnotnull
UNION ALL SELECT 'constraint', pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::regclass
UNION ALL SELECT 'index', regexp_replace(pg_get_indexdef(indexrelid), 'INDEX .* USING', '') FROM pg_index
    WHERE indrelid = $1::regclass
UNION ALL SELECT 'refuses', tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname <> 'keep_ending'
ORDER BY 1, 2
"""
DETACHED = "SELECT count(*) AS days FROM ledger_day WHERE detached_at IS NOT NULL"
# Tables and indexes of days that a look at the live tables locks.
LIVE_DAYS_LOCKED = """
SELECT count(DISTINCT right(c.relname, 10)) AS days FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND c.relname ~ '^(packet|claim|posting)_[0-9_]{10}$'
"""


def old_and_new_days() -> tuple[list[date], list[date]]:
    """50 old ones and the last 10."""
    return past_days(95)[:50], past_days(10)


async def days(deployment: Deployment, *arguments: str) -> tuple[int, str, str]:
    return await run_command("days", *arguments, environ=settings_environ(deployment.settings))


async def detached(deployment: Deployment) -> int:
    (row,) = await deployment.rows(DETACHED)
    return int(row["days"])


async def seen(deployment: Deployment, worker: Worker, packet: OperationId) -> Any:
    """What everyone is answered of a packet, and what its claimer is told again. With an empty Redis: by the ledger."""
    await deployment.flush_redis()
    await deployment.wait_open()
    reader = PacketReader(worker.client, worker.loader)
    packets = Packets(deployment.settings, deployment.keys.id_key, worker.path, worker.amounts, reader)
    lists = ClaimLists(deployment.settings, worker.books, worker.amounts, reader)
    again = claimed(await worker.path.claim_share(packet, OWNER))
    told = msgspec.to_builtins((await packets.see_packet(str(packet)), await lists.list_claims(str(packet), 0, 10)))
    (_, shown), (_, listed) = told
    assert list(check_packet(shown, listed["claims"])) == [], "redpacket verify"
    assert [it["settled"] for it in listed["claims"]] == [True]
    return again, told, await gather_story(deployment.settings, str(packet), OWNER)


async def doctor(deployment: Deployment, sql: str) -> None:
    """What no code of ours does, without triggers."""
    name = urlsplit(deployment.settings.postgres_url).path.removeprefix("/")
    connection = await asyncpg.connect(database_url(deployment.servers.postgres.superuser_url, name))
    try:
        await connection.execute("SET session_replication_role = replica")
        assert not (await connection.execute(sql)).endswith(" 0")
    finally:
        await connection.close()


async def test_what_is_asked_of_detached_days_is_answered_settled_and_audited_as_before(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = old_and_new_days()
    async with deployment.ledger(), deployment.worker() as worker:
        packets = await make_history(deployment, worker, [*old, *new])
        await sealed(deployment)
        assert_holds(await audited(deployment.settings))
        before = await seen(deployment, worker, packets[7]), await statement_of(deployment, worker)

        await _a_long_transaction_is_not_waited_for(deployment, old[0], monkeypatch)
        status, said, _ = await days(deployment, "detach", "--before", f"{new[0]}")
        assert (status, said) == (0, "".join(f"{day} is detached\n" for day in old))
        assert await detach_days(deployment.settings, new[0], _must_not_be) == [], "twice is once"
        status, said, _ = await days(deployment, "list", "--json")
        assert [it["day"] for it in json.loads(said) if it["detached_at"]] == [str(day) for day in old]
        assert all(it["bytes"] > 0 for it in json.loads(said))

        with monkeypatch.context() as patched:
            patched.setattr(entries, "_DAYS_MAX", 60)
            patched.delattr(entries, "_look_everywhere")
            assert (await seen(deployment, worker, packets[7]), await statement_of(deployment, worker)) == before
        assert len(before[1]) == 60 * 4
        assert_holds(await audited(deployment.settings))
        await _is_out_of_the_live_tables(deployment, len(new))
        assert await lock_shortage(worker.books) == ""

        doctored = "UPDATE detached_posting SET amount_minor = {} WHERE kind = 'topup' AND day = '{}'"
        await doctor(deployment, doctored.format(7, old[3]))
        assert (await audited(deployment.settings)).violations["I1"].total > 0
        await doctor(deployment, doctored.format(100, old[3]))

        await _is_settled_late(deployment, worker, packets[5])
        status, _, why = await days(deployment, "detach", "--before", "9999-01-01")
        assert status == 1
        assert f"{old[5]} is not sealed" in why
        assert f"{new[0]} to " in why
        assert "too young" in why
        await sealed(deployment)
        await deployment.rows("UPDATE ledger_day SET asked_at = asked_at - interval '1 hour'")
        said_again: list[str] = []
        assert await detach_days(deployment.settings, new[0], said_again.append) == []
        assert said_again == [f"{old[5]} is detached"]
        assert len(await statement_of(deployment, worker)) == 60 * 4 + 1
    assert_holds(await audited(deployment.settings, "start"))


def _must_not_be(said: str) -> NoReturn:
    raise AssertionError(said)


async def _a_long_transaction_is_not_waited_for(
    deployment: Deployment, oldest: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(deployment.settings.postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM whole_claim")
            with monkeypatch.context() as patched:
                patched.setattr(detach, "_TRIES", 2)
                with pytest.raises(detach.DaysError, match=f"{oldest} did not get its locks in 2 tries"):
                    await detach_days(deployment.settings, oldest + timedelta(days=1), _must_not_be)
    finally:
        await connection.close()


async def _is_out_of_the_live_tables(deployment: Deployment, new: int) -> None:
    connection = await asyncpg.connect(deployment.settings.postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT count(*) FROM posting, packet, claim")
            ahead = await connection.fetchval(
                "SELECT count(*) FROM ledger_day WHERE day >= $1", datetime.now(UTC).date()
            )
            assert await connection.fetchval(LIVE_DAYS_LOCKED) == new + ahead
    finally:
        await connection.close()


async def _is_settled_late(deployment: Deployment, worker: Worker, packet: OperationId) -> None:
    """Records of long ago once more, and one of that day that nobody has had: the day is back. The ledger worker, which
    has written into the day a moment ago, does not know yet that it was detached."""
    shard, ordinal = packet.shard, packet.day
    (fenced,) = await deployment.rows("SELECT epoch_fenced FROM shard WHERE shard = $1", shard)
    amounts = await worker.amounts.of_packet(str(packet), HISTORY_SPLIT)
    had, new = (OperationId(shard, ordinal, f"{ordinal:031x}{kind}") for kind in "bd")
    top_ups = [WalletToppedUp(str(it), TopUpTerms(OWNER, OWNER, "CNY", 100)) for it in (had, new)]
    events: list[Event] = [ShareClaimed(str(packet), OWNER, 1, amounts[0], 1), *top_ups]
    for event in events:
        at_ms = ordinal * 86_400_000 + 5
        await worker.producer.append(shard, Batch(fenced["epoch_fenced"], 1_000, at_ms, (event,)))
    await deployment.settled(worker)
    assert await deployment.rows("SELECT FROM ledger_day WHERE day = $1 AND detached_at IS NULL", packet.date)
    assert await deployment.rows("SELECT FROM dead_letter") == []
    last = "SELECT applied, repeated FROM record WHERE shard = $1 ORDER BY kafka_offset DESC LIMIT 3"
    assert [tuple(row) for row in await deployment.rows(last, shard)] == [(1, 0), (0, 1), (0, 1)]


async def test_days_that_are_moved_to_and_fro_are_found_at_every_moment_and_nothing_else_is_lost(
    deployment: Deployment,
) -> None:
    old, new = old_and_new_days()
    async with deployment.ledger(), deployment.worker() as worker:
        packets = await make_history(deployment, worker, [*old, *new])
        await sealed(deployment)
        whole, done, asked = await statement_of(deployment, worker), asyncio.Event(), 0

        async def again_and_again(ask: Callable[[int], Awaitable[None]]) -> None:
            nonlocal asked
            for number in count():
                if done.is_set():
                    return
                await ask(number)
                asked += 1

        async def share(number: int) -> None:
            packet = packets[number % len(old)]
            assert await worker.books.rows("settled_shares", str(packet), [1], days=[packet.date]), packet.date

        async def snapshot(number: int) -> None:
            some = packets[number % 40 : number % 40 + 12]
            known = await operation_snapshots(worker.books, some[0].shard, {it.identity: it.date for it in some})
            assert [len(it.claims) for it in known.operations.values()] == [1] * len(some)

        async def statement(_: int) -> None:
            assert (await statement_of(deployment, worker))[: len(whole)] == whole

        async def live(number: int) -> None:
            packet = await deployment.sent(worker, f"sender-{number}", 10, 2)
            claimed(await worker.path.claim_share(packet, "bob"))

        async with asyncio.TaskGroup() as group:
            for ask in (share, share, snapshot, statement, live, live):
                group.create_task(again_and_again(ask))
            assert await _ended_in_the_middle(deployment, new[0], signal.SIGINT) == 2
            assert await _ended_in_the_middle(deployment, new[0], signal.SIGKILL) == -signal.SIGKILL
            assert 6 <= await detached(deployment) < len(old)
            assert await detach_days(deployment.settings, new[0], lambda _: None) == []
            assert await detached(deployment) == len(old)
            await _to_and_fro(deployment, old[20:24])
            done.set()
        assert asked > 100
        await deployment.settled(worker)
    assert_holds(await audited(deployment.settings, "start"))


async def _ended_in_the_middle(deployment: Deployment, before: date, by: signal.Signals) -> int:
    """The exit status."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "days", "detach", "--before", f"{before}"),
        stdout=PIPE,
        stderr=DEVNULL,
        env={**os.environ, **settings_environ(deployment.settings)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LONG_S):
            for _ in range(3):
                assert b"is detached" in await process.stdout.readline()
            process.send_signal(by)
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _to_and_fro(deployment: Deployment, some: list[date]) -> None:
    connection = await asyncpg.connect(deployment.settings.postgres_url)
    old_enough = "UPDATE ledger_day SET sealed_at = now(), asked_at = now() - interval '1 hour' WHERE day = $1"

    async def until_it_has_its_locks(sql: str, day: date) -> Any:
        async with asyncio.timeout(LONG_S):
            while True:
                try:
                    return await connection.fetchval(sql, day)
                except asyncpg.LockNotAvailableError:
                    await asyncio.sleep(0.01)

    try:
        for day in some * 5:
            await until_it_has_its_locks("SELECT ensure_day($1)", day)
            await connection.execute(old_enough, day)
            assert await until_it_has_its_locks("SELECT detach_day($1)", day)
    finally:
        await connection.close()


async def test_only_days_are_detached_that_the_service_looks_for_where_they_are(deployment: Deployment) -> None:
    (row,) = await deployment.rows("SELECT detachable_before() AS before")
    assert row["before"] <= datetime.now(UTC).date() - timedelta(days=LIVE_DAYS + 1)
    for room in ("redpacket.books", "ledger.settle", "ledger.owner", "ledger.trace", "ledger.audit"):
        for name, sql in read_queries(room).items():
            if ":days" in sql or room == "ledger.audit":
                assert not re.search(r"(FROM|JOIN) (packet|claim|posting)\b", sql), f"{name} of {room}"


async def test_the_tables_of_detached_days_are_like_those_of_the_others(deployment: Deployment) -> None:
    for table in ("packet", "claim", "posting"):
        live = await deployment.rows(PARENT, table)
        assert len(live) > 20
        assert await deployment.rows(PARENT, f"detached_{table}") == live
        columns = await deployment.rows(COLUMNS, table)
        assert set(map(tuple, await deployment.rows(COLUMNS, f"whole_{table}"))) == set(map(tuple, columns))
