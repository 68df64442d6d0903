"""The floor of Postgres: the rows of the run once more, into tables of the same shape, in transactions of the size
seen, by one connection: claims and postings copied, the balances of the claimers moved. Nothing is decided."""

import time
from collections.abc import Sequence

import asyncpg

from loadtest.bench.cpu import cpu_of_parts, spent_since
from loadtest.bench.ledger import Ledger
from loadtest.bench.stack import Stack

_ROWS = 8_000
_TABLES = ("claim", "posting", "account")
_MOVE = """
INSERT INTO floor_account AS a (owner, kind, shard, credits_minor, version)
SELECT owner, 'wallet', shard, minor, postings
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS it (owner, shard, minor, postings)
ON CONFLICT (owner, kind, shard) DO UPDATE SET
    credits_minor = a.credits_minor + excluded.credits_minor, version = a.version + excluded.version
"""


async def measure_rows(
    stack: Stack, ledger: Ledger, packets: Sequence[str], transaction_items: int
) -> dict[str, float]:
    """Seconds of CPU a claim: of the writer (ledger) and of Postgres."""
    connection = ledger.connection
    claims, postings, accounts = await _read(connection, packets)
    postgres = {"postgres": stack.pids()["postgres"]}
    for table in _TABLES:
        await connection.execute(f"DROP TABLE IF EXISTS floor_{table}")
        await connection.execute(f"CREATE TABLE floor_{table} (LIKE {table} INCLUDING ALL)")
    before, before_s = cpu_of_parts(postgres), time.process_time()
    for first in range(0, len(claims), transaction_items):
        part = slice(first, first + transaction_items)
        async with connection.transaction():
            await connection.copy_records_to_table("floor_claim", records=claims[part])
            await connection.copy_records_to_table("floor_posting", records=postings[part])
            await connection.execute(_MOVE, *_movements(accounts[part]))
    ledger_s, spent = time.process_time() - before_s, spent_since(before, cpu_of_parts(postgres))
    return {"ledger": ledger_s / len(claims), "postgres": spent["postgres"] / len(claims)}


async def _read(
    connection: asyncpg.Connection, packets: Sequence[str]
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], list[tuple[str, int, int]]]:
    """Claims of the packets, their postings, and by each the account, its shard and by how much it was moved."""
    claims = await connection.fetch("SELECT * FROM claim WHERE packet = ANY($1) LIMIT $2", packets, _ROWS)
    postings = await connection.fetch(
        "SELECT posting.*, account.owner AS floor_owner, account.shard AS floor_shard FROM posting"
        " JOIN account ON account.id = credit_account WHERE operation = ANY($1) AND posting.kind = 'claim'"
        " ORDER BY posting.shard, kafka_offset, item LIMIT $2",
        packets,
        len(claims),
    )
    moved = [(row["floor_owner"], row["floor_shard"], row["amount_minor"]) for row in postings]
    return [tuple(row) for row in claims], [tuple(row)[:-2] for row in postings], moved


def _movements(accounts: Sequence[tuple[str, int, int]]) -> tuple[list[object], ...]:
    """In columns: each account once, as a row can be moved only once by one statement."""
    moved: dict[tuple[str, int], tuple[int, int]] = {}
    for owner, shard, minor in accounts:
        before, postings = moved.get((owner, shard), (0, 0))
        moved[owner, shard] = before + minor, postings + 1
    rows = [(owner, shard, minor, postings) for (owner, shard), (minor, postings) in moved.items()]
    return tuple(map(list, zip(*rows, strict=True)))
