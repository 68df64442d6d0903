"""The audit's reading of the ledger: one session, and in it one snapshot for all that is compared."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ledger.audit.findings import SENTENCES_MAX, AuditError
from redpacket.books.database import POSTGRES_FAILURES
from redpacket.settings import Settings
from redpacket.sql import read_queries

QUERIES = read_queries("ledger.audit")
# By name; a name begins with the invariant that is violated.
VIOLATIONS = read_queries("ledger.audit", "violations.sql")

_CONNECT_TIMEOUT_S = 10.0
# Of one statement: some of them go through all postings.
_STATEMENT_S = 3_600.0
_ROWS_AT_ONCE = 2_000


class LedgerSession:
    """A connection of the audit's own. Made by `ledger_session`; whatever Postgres raises is an AuditError there."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def keep_operations(self, rows: Sequence[tuple[object, ...]]) -> None:
        columns = ("shard", "identity", "id", "at_ms", "terms", "state", "over_at_ms")
        await self._connection.copy_records_to_table("confirmed_operation", columns=columns, records=rows)

    async def keep_wallets(self, rows: Sequence[tuple[object, ...]]) -> None:
        columns = ("shard", "owner", "credited_minor")
        await self._connection.copy_records_to_table("held_wallet", columns=columns, records=rows)

    async def keep_claims(self, rows: Sequence[tuple[object, ...]]) -> None:
        columns = ("shard", "day", "packet", "share", "owner", "sequence", "amount_minor", "at_ms")
        await self._connection.copy_records_to_table("confirmed_claim", columns=columns, records=rows)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """All that is read in here is of one moment, however long it takes."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            yield

    async def rows(self, query: str, *args: Any) -> list[asyncpg.Record]:
        return await self._connection.fetch(QUERIES[query], *args)

    async def row(self, query: str, *args: Any) -> asyncpg.Record:
        (row,) = await self._connection.fetch(QUERIES[query], *args)
        return row

    async def write(self, query: str, *args: Any) -> None:
        await self._connection.execute(QUERIES[query], *args)

    async def violations(self, name: str) -> tuple[list[str], int]:
        """The first sentences of what this block of violations.sql finds, and how many there are in all."""
        found = f"SELECT words, count(*) OVER () AS total FROM ({VIOLATIONS[name]}) f ORDER BY words LIMIT $1"  # noqa: S608
        rows = await self._connection.fetch(found, SENTENCES_MAX)
        return [row["words"] for row in rows], rows[0]["total"] if rows else 0

    async def stream(self, query: str, *args: Any) -> AsyncIterator[asyncpg.Record]:
        """Row by row, of a snapshot; other queries may be asked in between."""
        cursor = await self._connection.cursor(QUERIES[query], *args)
        while rows := await cursor.fetch(_ROWS_AT_ONCE):
            for row in rows:
                yield row


@asynccontextmanager
async def ledger_session(settings: Settings) -> AsyncIterator[LedgerSession]:
    """Raises AuditError, also for what is raised inside by Postgres."""
    try:
        connection = await asyncpg.connect(
            settings.postgres_url, timeout=_CONNECT_TIMEOUT_S, command_timeout=_STATEMENT_S
        )
        try:
            session = LedgerSession(connection)
            await session.rows("read_for_long", f"{_STATEMENT_S:.0f}s")
            await session.write("make_confirmed")
            yield session
        finally:
            connection.terminate()
    except POSTGRES_FAILURES as error:
        raise AuditError(f"postgres: {error!r}") from error
