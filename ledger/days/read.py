"""Reads which days the ledger has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime

import asyncpg
from msgspec import Struct

from redpacket.settings import Settings
from redpacket.sql import read_queries

QUERIES = read_queries("ledger.days")

_CONNECT_TIMEOUT_S = 10.0
# Of one statement: a day is looked through once, before it is detached.
_STATEMENT_S = 3_600.0
# Whoever waits for the lock of a table makes all others wait.
_LOCK_TIMEOUT_MS = 200


class Day(Struct, frozen=True):
    """`old`: enough to be detached. `bytes`: of its tables and indexes, 0 where that was not asked."""

    day: date
    sealed_at: datetime | None
    detached_at: datetime | None
    old: bool
    bytes: int = 0


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        settings.postgres_url,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_STATEMENT_S,
        server_settings={"lock_timeout": str(_LOCK_TIMEOUT_MS)},
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def read_days(connection: asyncpg.Connection, before: date = date.max) -> list[Day]:
    """The oldest first."""
    return [Day(**dict(row)) for row in await connection.fetch(QUERIES["days"], before)]


async def list_days(settings: Settings) -> list[Day]:
    """With their sizes, the oldest first. Raises what asyncpg raises."""
    async with connected(settings) as connection:
        sizes = {row["day"]: row["bytes"] for row in await connection.fetch(QUERIES["sizes"])}
        return [
            Day(it.day, it.sealed_at, it.detached_at, it.old, sizes.get(it.day, 0))
            for it in await read_days(connection)
        ]
