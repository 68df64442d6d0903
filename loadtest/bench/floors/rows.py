"""The floor of Postgres: the newest rows once more, into tables of the same shape, in transactions of the size seen, by
one connection: rows copied, balances moved. Nothing is decided."""

import time
from collections.abc import Sequence
from typing import Literal

import asyncpg

from loadtest.cpu import cpu_of_parts, spent_since
from loadtest.ledger import Ledger
from loadtest.stack import Stack

_ROWS = 8_000
# What is added for each claim, and for each packet sent; and its posting.
_NEWEST = {
    "claim": {"claim": "SELECT * FROM claim ORDER BY claimed_at DESC LIMIT $1"},
    "packet": {
        "operation": "SELECT * FROM operation WHERE kind = 'packet' ORDER BY at DESC LIMIT $1",
        "packet": "SELECT * FROM packet ORDER BY opened_at DESC LIMIT $1",
    },
}
_POSTINGS = """
SELECT p.*, d.owner AS d_owner, d.kind AS d_kind, d.shard AS d_shard,
    c.owner AS c_owner, c.kind AS c_kind, c.shard AS c_shard
FROM posting p JOIN account d ON d.id = p.debit_account JOIN account c ON c.id = p.credit_account
WHERE p.kind = $2 ORDER BY p.at DESC LIMIT $1
"""
_OF_ACCOUNTS = 6
_MOVE = """
INSERT INTO floor_account AS a (owner, kind, shard, debits_minor, credits_minor, version)
SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[])
ON CONFLICT (owner, kind, shard) DO UPDATE SET debits_minor = a.debits_minor + excluded.debits_minor,
    credits_minor = a.credits_minor + excluded.credits_minor, version = a.version + excluded.version
"""
Account = tuple[str, str, int]


async def measure_rows(
    stack: Stack, ledger: Ledger, table: Literal["claim", "packet"], transaction_items: int
) -> dict[str, float]:
    """Seconds of CPU a claim, or a packet sent: of the writer (ledger) and of Postgres."""
    connection = ledger.connection
    added = {name: [tuple(row) for row in await connection.fetch(sql, _ROWS)] for name, sql in _NEWEST[table].items()}
    postings = await connection.fetch(_POSTINGS, _ROWS, table)
    added["posting"] = [tuple(row)[:-_OF_ACCOUNTS] for row in postings]
    postgres = {"postgres": stack.pids()["postgres"]}
    for name in (*added, "account"):
        await connection.execute(f"DROP TABLE IF EXISTS floor_{name}")
        # No CHECKs: one on accounts and an upsert do not go together.
        await connection.execute(f"CREATE TABLE floor_{name} (LIKE {name} INCLUDING ALL EXCLUDING CONSTRAINTS)")
    before, before_s = cpu_of_parts(postgres), time.process_time()
    for first in range(0, len(postings), transaction_items):
        part = slice(first, first + transaction_items)
        async with connection.transaction():
            for name, rows in added.items():
                await connection.copy_records_to_table(f"floor_{name}", records=rows[part])
            await connection.execute(_MOVE, *_movements(postings[part]))
    ledger_s, spent = time.process_time() - before_s, spent_since(before, cpu_of_parts(postgres))
    return {"ledger": ledger_s / len(postings), "postgres": spent["postgres"] / len(postings)}


def _movements(postings: Sequence[asyncpg.Record]) -> tuple[list[object], ...]:
    """In columns: each account once, as a row can be moved only once by one statement."""
    moved: dict[Account, list[int]] = {}
    for row in postings:
        for side, way in (("d", 0), ("c", 1)):
            account = moved.setdefault((row[f"{side}_owner"], row[f"{side}_kind"], row[f"{side}_shard"]), [0, 0, 0])
            account[way] += row["amount_minor"]
            account[2] += 1
    rows = [(*account, *sums) for account, sums in moved.items()]
    return tuple(map(list, zip(*rows, strict=True)))
