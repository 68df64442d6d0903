"""Writes a settlement: the only code that writes the ledger's rows and moves its balances."""

from collections.abc import Iterable

import asyncpg

from ledger.settle import rows
from ledger.settle.balances import Movement, balances_before, post_in_order, sum_movements
from ledger.settle.decide import Settlement
from ledger.settle.queries import QUERIES
from ledger.settle.state import Account
from redpacket.ids import date_of
from redpacket.sql import of_days

Connection = asyncpg.pool.PoolConnectionProxy


async def write_settlement(connection: Connection, settlement: Settlement) -> None:
    """Adds every row and moves every balance of the settlement.

    Rows are added plainly: one that is there already fails the transaction, and nothing has moved.
    """
    shard, opened = settlement.shard, {operation.id for operation in settlement.operations}
    packets = settlement.packets.values()
    await _add(connection, "operation", rows.OPERATION, (rows.operation_row(shard, it) for it in settlement.operations))
    await _add(connection, "packet", rows.PACKET, (rows.packet_row(shard, it) for it in packets if it.id in opened))
    if moved := [packet for packet in packets if packet.id not in opened]:
        days = {date_of(packet.id) for packet in moved}
        await connection.execute(of_days(QUERIES["move_packets"], days), *rows.moved_packets(moved))
    await _add(connection, "claim", rows.CLAIM, map(rows.claim_row, settlement.claims))
    await _write_postings(connection, settlement)
    letters = (rows.dead_letter_row(shard, letter) for letter in settlement.dead_letters)
    await _add(connection, "dead_letter", rows.DEAD_LETTER, letters)


async def _add(connection: Connection, table: str, columns: tuple[str, ...], added: Iterable[rows.Row]) -> None:
    if records := list(added):
        await connection.copy_records_to_table(table, columns=columns, records=records)


async def _write_postings(connection: Connection, settlement: Settlement) -> None:
    if not settlement.postings:
        return
    movements = sum_movements(settlement.postings)
    balances = balances_before(await _move_accounts(connection, movements), movements)
    after = zip(settlement.postings, post_in_order(settlement.postings, balances), strict=True)
    postings = (rows.posting_row(settlement.shard, posting, debit, credit) for posting, (debit, credit) in after)
    await _add(connection, "posting", rows.POSTING, postings)


async def _move_accounts(
    connection: Connection, movements: dict[Account, Movement]
) -> dict[Account, tuple[int, int, int]]:
    """Of each account its id, version and balance after all of its movement."""
    keys = (
        [account.shard for account in movements],
        [account.owner for account in movements],
        [account.kind for account in movements],
    )
    await connection.execute(QUERIES["open_accounts"], *keys)
    moved = await connection.fetch(
        QUERIES["move_accounts"],
        *keys,
        [movement.debits_minor for movement in movements.values()],
        [movement.credits_minor for movement in movements.values()],
        [movement.postings for movement in movements.values()],
    )
    return {
        Account(row["shard"], row["owner"], row["kind"]): (
            row["id"],
            row["version"],
            row["credits_minor"] - row["debits_minor"],
        )
        for row in moved
    }
