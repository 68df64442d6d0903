"""The statement of a wallet over days, and what reading it costs Postgres."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
from msgspec import UNSET

from redpacket.events import Event, PacketOpened, PacketTerms, ShareClaimed, TopUpTerms, WalletToppedUp
from redpacket.ids import OperationId
from redpacket.log.record import Batch
from redpacket.split import SplitParameters
from redpacket.sql import of_days, read_queries
from service.statements import Statements
from service.words import Entry
from tests.deployment import Deployment, Worker, found

FIRST_DAY, DAYS = 20_000, 5


async def _move_over_days(deployment: Deployment, worker: Worker) -> list[tuple[str, int]]:
    """A top-up, then on each of some days a packet of alice's, then a claim of hers on each: (kind, amount) in order.

    What is claimed belongs to the day of its packet, so that the order of versions is not that of days.
    """
    shard = deployment.shard_of("alice")
    terms = TopUpTerms("alice", "alice", "CNY", 1_000)
    split = SplitParameters("lucky", 100, 2, 100, 1)
    packets = [str(OperationId(shard, FIRST_DAY + day, f"{day:032x}")) for day in range(DAYS)]
    top_up = WalletToppedUp(str(OperationId(shard, FIRST_DAY + 2, "f" * 32)), terms)
    opened = [PacketOpened(it, PacketTerms("alice", "CNY", split, "", 60), "c" * 64) for it in packets]
    claimed = [ShareClaimed(it, "alice", 1, 10 + n, 1) for n, it in enumerate(reversed(packets))]
    events: list[Event] = [top_up, *opened, *claimed]
    for start in range(0, len(events), 4):
        batch = Batch(1, 900 + start, FIRST_DAY * 86_400_000, tuple(events[start : start + 4]))
        await worker.producer.append(shard, batch)
    await deployment.settled(worker)
    return [("topup", 1_000), *[("packet", -100)] * DAYS, *(("claim", 10 + n) for n in range(DAYS))]


async def test_a_statement_is_in_the_order_in_which_the_balance_moved_over_all_days(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        moved = await _move_over_days(deployment, worker)
        statements = Statements(deployment.settings, worker.books)
        for limit in (1, 3, 200):
            entries, after = [], 0
            while True:
                page = await statements.list_entries("alice", after, limit)
                assert len(page.entries) <= limit
                entries += page.entries
                if page.next is None:
                    break
                after = int(page.next)
            assert [(it.kind, it.amount) for it in entries] == moved
            assert [0, *(it.balance_after for it in entries)][-1] == sum(amount for _, amount in moved)
            assert all(b.balance_after == a.balance_after + b.amount for a, b in pairwise(entries))
            assert len({it.id for it in entries}) == len(entries)


async def _claim_from_every_shard(deployment: Deployment, worker: Worker, rounds: int) -> int:
    """Packets of every shard, and claims of alice's to them whose records reach the log in the wrong order of time: of
    each shard the later ones first, and the shards side by side. How many claims."""
    shards = range(deployment.settings.shards)
    senders = {shard: next(f"s{n}" for n in range(1_000) if deployment.shard_of(f"s{n}") == shard) for shard in shards}
    split = SplitParameters("lucky", 100, 2, 100, 1)
    start_ms, last_ms = FIRST_DAY * 86_400_000, 1_000_000
    for n in range(rounds):
        ids = {shard: str(OperationId(shard, FIRST_DAY, f"{n * len(shards) + shard:032x}")) for shard in shards}
        for shard, sender in senders.items():
            opened = PacketOpened(ids[shard], PacketTerms(sender, "CNY", split, "", 10**9), "c" * 64)
            await worker.producer.append(shard, Batch(1, 700 + 2 * n, start_ms, (opened,)))
        for shard in shards:
            claim = ShareClaimed(ids[shard], "alice", 1, 10 + n, 1)
            at_ms = start_ms + last_ms - 1_000 * n - shard
            await worker.producer.append(shard, Batch(1, 701 + 2 * n, at_ms, (claim,)))
    await deployment.settled(worker)
    return rounds * len(shards)


async def _statement(deployment: Deployment, worker: Worker) -> list[Entry]:
    statements, entries, after = Statements(deployment.settings, worker.books), list[Entry](), 0
    while True:
        page = await statements.list_entries("alice", after, 7)
        entries += page.entries
        if page.next is None:
            return entries
        after = int(page.next)


async def test_in_a_statement_settled_at_never_goes_back_where_at_does(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        claims = await _claim_from_every_shard(deployment, worker, rounds=10)
        entries = await _statement(deployment, worker)
        assert len(entries) == claims
        assert any(later.at < entry.at for entry, later in pairwise(entries)), "nothing was settled out of order"
        settled = [entry.settled_at for entry in entries]
        assert settled == sorted(settled, key=str)
        assert UNSET not in settled


async def test_what_a_version_before_has_settled_has_no_settled_at(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 10))
        await deployment.settled(worker)
        # As the migration leaves the records that are there.
        await deployment.rows("ALTER TABLE record DISABLE TRIGGER append_only")
        await deployment.rows("UPDATE record SET settled_at = NULL")
        await deployment.rows("ALTER TABLE record ENABLE TRIGGER append_only")
        found(await deployment.top_up(worker, "alice", 20))
        await deployment.settled(worker)
        before, since = await _statement(deployment, worker)
        assert before.settled_at is UNSET
        assert isinstance(since.settled_at, str)


async def test_a_statement_reads_each_days_index_and_no_more_of_it_than_it_gives(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        found(await deployment.top_up(worker, "alice", 10))
        await _move_over_days(deployment, worker)
        connection = await asyncpg.connect(deployment.settings.postgres_url)
        try:
            # What the planner sees in tables that are not small.
            await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
            days = [date(1970, 1, 1) + timedelta(days=FIRST_DAY + day) for day in range(DAYS)]
            (wallet,) = await deployment.rows("SELECT id FROM account WHERE owner = 'alice' AND kind = 'wallet'")
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + of_days(
                read_queries("redpacket.books")["account_entries"], days
            )
            plan = json.loads(await connection.fetchval(explain, wallet["id"], 0, 2**40, 2))
        finally:
            await connection.close()
        nodes = list(_nodes(plan[0]["Plan"]))
        kinds = [node["Node Type"] for node in nodes]
        assert "Seq Scan" not in kinds
        assert kinds.count("Merge Append") >= 2
        scans = [node for node in nodes if node["Node Type"] == "Index Scan" and "posting" in node["Relation Name"]]
        assert all("_account" in node["Index Cond"] and "_version" in node["Index Cond"] for node in scans)
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) < 2 * (2 + len(scans))


async def test_a_statement_is_whole_whatever_is_written_down_of_sealed_days(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        moved = await _move_over_days(deployment, worker)
        statements = Statements(deployment.settings, worker.books)
        # Nothing of it; something settled late, when the day was sealed; all of it, as the owner of shard 0 does it.
        for kept in ("false", "last_version <= 3", "true"):
            await deployment.rows("DELETE FROM account_day")
            await deployment.rows(
                "INSERT INTO account_day SELECT account, min(version), max(version), day FROM ("
                " SELECT debit_account AS account, debit_version AS version, day FROM posting"
                " UNION ALL SELECT credit_account, credit_version, day FROM posting) m GROUP BY account, day"
            )
            await deployment.rows(f"DELETE FROM account_day WHERE NOT ({kept})")
            await deployment.rows("UPDATE ledger_day SET sealed_at = now()")
            page = await statements.list_entries("alice", 0, 200)
            assert [(it.kind, it.amount) for it in page.entries][: len(moved)] == moved
            page = await statements.list_entries("alice", 4, 2)
            assert [(it.kind, it.amount) for it in page.entries] == moved[4:6]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
