"""What of the load is in the ledger: rows counted in Postgres, by nobody who has a part in the path."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from msgspec import Struct

from redpacket.log.topic import LogEnds
from redpacket.settings import Settings

_LOOK_AGAIN_S = 0.01
_DRAIN_S = 120.0
_CALL_S = 60.0


class Written(Struct, frozen=True):
    """What the ledger has settled: records, and in how many transactions; `ends`: by shard, where the log ends."""

    records: int
    transactions: int
    ends: tuple[int, ...]


class Ledger:
    def __init__(self, connection: asyncpg.Connection, ends: LogEnds, topic: str) -> None:
        self.connection = connection
        self.topic = topic
        self._ends = ends

    async def count(self, table: str) -> int:
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 a name of ours

    async def written(self) -> Written:
        # Each row of a settled record carries the number of the transaction that wrote it.
        (row,) = await self.connection.fetch("SELECT count(*), count(DISTINCT xmin::text) FROM record")
        return Written(row[0], row[1], tuple(await self._ends.read()))

    async def wait_drained(self) -> None:
        """Until the ledger has all that Kafka has now. Raises TimeoutError."""
        wanted = await self._ends.read()
        async with asyncio.timeout(_DRAIN_S):
            while True:
                offsets = await self.connection.fetch("SELECT next_offset FROM shard ORDER BY shard")
                if all(row["next_offset"] >= end for row, end in zip(offsets, wanted, strict=True)):
                    return
                await asyncio.sleep(_LOOK_AGAIN_S)


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncIterator[Ledger]:
    connection = await asyncpg.connect(settings.postgres_url, command_timeout=_CALL_S)
    try:
        topic = await connection.fetchval("SELECT topic FROM deployment")
        ends = LogEnds(settings, topic)
        await ends.start()
        try:
            yield Ledger(connection, ends, topic)
        finally:
            await ends.stop()
    finally:
        await connection.close()
