"""Many records in one Postgres transaction, with the offset: the one path from the log into the ledger."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import date

import asyncpg
from msgspec import Struct

from ledger.settle.chain import link
from ledger.settle.decide import Rejected, Settlement, settle_record
from ledger.settle.queries import QUERIES
from ledger.settle.read import read_state
from ledger.settle.write import write_settlement
from redpacket.events import PacketClosed, ShareClaimed
from redpacket.ids import parse_id
from redpacket.log.record import Batch, Record


class LogRecord(Struct, frozen=True):
    """`at_ms`: when it was written, by who wrote it."""

    kafka_offset: int
    raw: bytes
    record: Record | Rejected
    at_ms: int = 0


class Position(Struct, frozen=True):
    """`held`: the record at `next_offset` waits for a person's decision; `rejected`: that was that it moves nothing.
    `epoch_fenced`: the highest Fence below it."""

    next_offset: int
    epoch_fenced: int
    held: bool
    rejected: bool


# What will be the same whenever such a record is settled again: what Postgres refuses, and what cannot be put into its
# types. The last two are what a COPY raises for a number that is too large.
REFUSED = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, ValueError, OverflowError)


# A day that is over may be sealed meanwhile.
_ENSURED_S = 60.0


class PositionLostError(Exception):
    """The shard's offset in Postgres is not where this worker believed it to be; nothing was written."""


class Settled(Struct, frozen=True):
    next_offset: int
    settlement: Settlement


class Settler:
    """Settles records of any shard into one database."""

    def __init__(self, pool: asyncpg.Pool, shard_of: Callable[[str], int]) -> None:
        self._pool = pool
        self._shard_of = shard_of
        # Until when, by the clock of the event loop.
        self._days_ensured: dict[date, float] = {}

    async def position(self, shard: int) -> Position:
        row = await self._pool.fetchrow(QUERIES["position"], shard)
        if row is None:
            raise PositionLostError(f"there is no shard {shard} in this database")
        return Position(row["next_offset"], row["epoch_fenced"], row["held"], bool(row["rejected"]))

    async def hold(self, shard: int, kafka_offset: int, raw: bytes, content: str, reason: str) -> None:
        """From now on the record at `kafka_offset` holds the shard until a person decides. `content`: what it says, as
        far as it can be read. In a transaction of its own, and only where the shard stands there."""
        await self._pool.execute(QUERIES["hold"], shard, kafka_offset, reason, content, raw)

    async def ensure_days(self, days: Iterable[date]) -> None:
        """Makes the partitions of these days where they are not there, and sees to it that the days are not sealed."""
        now_s = asyncio.get_running_loop().time()
        for day in sorted(set(days)):
            if self._days_ensured.get(day, 0.0) <= now_s:
                await self._pool.execute(QUERIES["ensure_day"], day)
                self._days_ensured[day] = now_s + _ENSURED_S

    async def settle(self, shard: int, records: Sequence[LogRecord], from_offset: int) -> Settled:
        """Settles `records` (in offset order, the first at or after `from_offset`) and moves the shard's offset.

        Raises PositionLostError where the shard is not at `from_offset`. Any error of Postgres leaves all of it done or
        none: a COMMIT that was cut is resolved by reading the position.
        """
        days = {day for logged in records for day in _days(logged.record)}
        await self.ensure_days(days)
        try:
            return await self._settle(shard, records, from_offset, every_claim=False)
        except asyncpg.IntegrityConstraintViolationError:
            # Something stands where a claim wants to go, under another sequence: a contradiction, to be found and set
            # aside by looking at every claim. Or a partition is gone with a restored Postgres. Nothing was written.
            self._days_ensured.clear()
            await self.ensure_days(days)
            return await self._settle(shard, records, from_offset, every_claim=True)

    async def _settle(
        self, shard: int, records: Sequence[LogRecord], from_offset: int, *, every_claim: bool
    ) -> Settled:
        next_offset = records[-1].kafka_offset + 1
        async with self._pool.acquire() as connection, connection.transaction():
            held = await connection.fetchrow(QUERIES["advance"], shard, from_offset, next_offset)
            if held is None:
                raise PositionLostError(f"shard {shard} is no longer at offset {from_offset}")
            state = await read_state(
                connection, held["epoch_fenced"], [logged.record for logged in records], every_claim
            )
            settlement = Settlement(shard, self._shard_of, state)
            for logged in records:
                settle_record(settlement, logged.kafka_offset, logged.record)
            await write_settlement(connection, settlement)
            await self._write_records(connection, settlement, held["chain"], records)
        return Settled(next_offset, settlement)

    async def _write_records(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        settlement: Settlement,
        chain: bytes,
        records: Sequence[LogRecord],
    ) -> None:
        rows = []
        for logged, settled in zip(records, settlement.records, strict=True):
            chain = link(chain, logged.raw)
            counts = (settled.applied, settled.repeated, settled.ignored)
            rows.append((settlement.shard, settled.kafka_offset, settled.epoch, *counts, chain))
        columns = ("shard", "kafka_offset", "epoch", "applied", "repeated", "ignored", "chain")
        await connection.copy_records_to_table("record", columns=columns, records=rows)
        fenced, shut = settlement.state.epoch_fenced, settlement.epoch_shut
        await connection.execute(QUERIES["finish"], settlement.shard, fenced, chain, shut)


def _days(record: Record | Rejected) -> set[date]:
    if not isinstance(record, Batch):
        return set()
    ids = {event.packet if isinstance(event, ShareClaimed | PacketClosed) else event.id for event in record.events}
    return {known.date for id in ids if (known := parse_id(id))}
