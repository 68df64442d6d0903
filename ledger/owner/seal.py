"""Seals days: once a day is over and no packet of it is open, where its wallets moved is written down in few rows.

So a statement need not look into each day's partition.
"""

from datetime import date

import asyncpg

from redpacket.sql import of_days, read_queries

_QUERIES = read_queries("ledger.owner")
# One of them does it for all shards.
_SHARD = 0
# Of one statement: some 0.1 s of Postgres.
_ACCOUNTS_AT_ONCE = 5_000


class DaySealer:
    """Nothing rests on it but what a statement costs: a movement that comes late is found in any case."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def seal(self, shard: int) -> None:
        """Every day that can be. Raises what asyncpg raises."""
        if shard != _SHARD:
            return
        day: date | None = date.min
        while day := await self._pool.fetchval(_QUERIES["next_to_seal"], day):
            if not await self._pool.fetchval(of_days(_QUERIES["has_open_packets"], [day])):
                await self._seal(day)

    async def _seal(self, day: date) -> None:
        highest = await self._pool.fetchval(_QUERIES["highest_account"])
        keep = of_days(_QUERIES["keep_account_day"], [day])
        for first in range(1, highest + 1, _ACCOUNTS_AT_ONCE):
            await self._pool.execute(keep, first, first + _ACCOUNTS_AT_ONCE - 1)
        await self._pool.execute(_QUERIES["seal_day"], day)
