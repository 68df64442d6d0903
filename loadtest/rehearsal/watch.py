"""Looks at the service from beside, once a second: what is in the ledger, how far it lags, what CPU is used."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
from msgspec import Struct

from loadtest.rehearsal.meter import CpuMeter
from redpacket.books.database import POSTGRES_FAILURES
from redpacket.log.producer import LogUnavailableError
from redpacket.log.topic import LogEnds
from redpacket.settings import Settings

_EVERY_S = 1.0
_CALL_S = 2.0
# The version of an account is the number of its postings: of an escrow, each send, each claim and each refund is one.
_SETTLED = """SELECT coalesce(sum(version), 0)::bigint FROM account WHERE kind = 'escrow' AND owner = ANY($1)"""
_OFFSETS = "SELECT next_offset FROM shard ORDER BY shard"


class Look(Struct, frozen=True):
    """`at_s`: since 1970. `settled`: sends and claims of the rehearsal that are in the ledger. None: could not be
    asked."""

    at_s: float
    settled: int | None
    lag_records: int | None


@asynccontextmanager
async def watching(settings: Settings, senders: Sequence[str], meter: CpuMeter) -> AsyncIterator[list[Look]]:
    """Looks that grow within. Raises LogUnavailableError, and POSTGRES_FAILURES."""
    async with asyncpg.create_pool(settings.postgres_url, min_size=1, max_size=1, command_timeout=_CALL_S) as pool:
        ends = LogEnds(settings, await pool.fetchval("SELECT topic FROM deployment"))
        await ends.start()
        try:
            looks: list[Look] = []
            looking = asyncio.create_task(_look_again(pool, ends, senders, meter, looks))
            try:
                yield looks
            finally:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking
        finally:
            await ends.stop()


async def _look_again(
    pool: asyncpg.Pool, ends: LogEnds, senders: Sequence[str], meter: CpuMeter, looks: list[Look]
) -> None:
    while True:
        next_s = time.monotonic() + _EVERY_S
        meter.look()
        looks.append(await _look(pool, ends, senders))
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))


async def _look(pool: asyncpg.Pool, ends: LogEnds, senders: Sequence[str]) -> Look:
    at_s = time.time()
    try:
        async with asyncio.timeout(_CALL_S):
            settled = await pool.fetchval(_SETTLED, senders)
            offsets = [row["next_offset"] for row in await pool.fetch(_OFFSETS)]
    except POSTGRES_FAILURES:
        return Look(at_s, None, None)
    try:
        lag = sum(max(0, end - offset) for end, offset in zip(await ends.read(), offsets, strict=True))
    except LogUnavailableError:
        return Look(at_s, settled, None)
    return Look(at_s, settled, lag)
