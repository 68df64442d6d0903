"""The connection to Postgres of those who read, each call with its deadline."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from datetime import date
from typing import Any

import asyncpg

from redpacket.limits import READING_CONNECTIONS
from redpacket.settings import Settings
from redpacket.sql import of_days, read_queries

# What a call raises when Postgres is away, goes away, or is too slow. The third is what asyncpg says of a connection
# that was cut in the middle of a statement when it goes back to the pool.
POSTGRES_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_QUERIES = read_queries("redpacket.books")


async def keep_session(_: asyncpg.Connection) -> None:
    """Instead of asyncpg's reset of a connection that goes back to its pool, which is one more query for each: nothing
    here changes its session. What is left of a transaction asyncpg rolls back before."""


class BooksUnavailableError(Exception):
    """Postgres did not answer in time, or not at all."""


class Books:
    """A pool that opens connections when they are wanted. Close it with `aclose`."""

    def __init__(self, settings: Settings, connections: int = READING_CONNECTIONS) -> None:
        self._timeout_s = settings.postgres_timeout_ms / 1000
        self._pool = asyncpg.create_pool(
            settings.postgres_url,
            min_size=0,
            max_size=connections,
            timeout=self._timeout_s,
            command_timeout=self._timeout_s,
            reset=keep_session,
        )

    async def start(self) -> None:
        await self._pool

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def rows(self, query: str, *args: Any, days: Collection[date] = ()) -> list[asyncpg.Record]:
        """The rows of the named query, which looks at these days. Raises BooksUnavailableError."""
        try:
            # The command's own deadline does not cover the wait for a connection.
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(of_days(_QUERIES[query], days), *args)
        except POSTGRES_FAILURES as error:
            raise BooksUnavailableError(f"postgres: {query}: {error!r}") from error

    async def _fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        connection = await self._pool.acquire()
        try:
            return await connection.fetch(sql, *args)
        except (TimeoutError, asyncio.CancelledError):
            # Given back as it is, it would first wait as long again for its cancel request to be answered.
            connection.terminate()
            raise
        finally:
            # What it says of a connection that was cut must not stand in the place of a cancellation.
            with suppress(asyncpg.InterfaceError, asyncpg.InternalClientError):
                await self._pool.release(connection)

    async def row(self, query: str, *args: Any, days: Collection[date] = ()) -> asyncpg.Record | None:
        """The first row, or None."""
        rows = await self.rows(query, *args, days=days)
        return rows[0] if rows else None
