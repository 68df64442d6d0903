"""Writes a settlement: the only code that writes the ledger's rows and moves its balances."""

import asyncpg
from msgspec import msgpack

from ledger.settle.balances import balances_before, post_in_order, sum_movements
from ledger.settle.decide import Settlement
from ledger.settle.queries import QUERIES
from ledger.settle.state import Account, PacketRow
from redpacket.events import PacketTerms
from redpacket.ids import date_of, utc

_encode = msgpack.Encoder().encode


async def write_settlement(connection: asyncpg.pool.PoolConnectionProxy, settlement: Settlement) -> None:
    """Adds every row and moves every balance of the settlement.

    Rows are added plainly: one that is there already fails the transaction, and nothing has moved.
    """
    await _write_operations(connection, settlement)
    await _write_packets(connection, settlement)
    await _write_claims(connection, settlement)
    await _write_postings(connection, settlement)
    for letter in settlement.dead_letters:
        await connection.execute(
            "INSERT INTO dead_letter (shard, kafka_offset, item, reason, event) VALUES ($1, $2, $3, $4, $5)",
            settlement.shard,
            letter.kafka_offset,
            letter.item,
            letter.reason,
            repr(letter.event),
        )


async def _write_operations(connection: asyncpg.pool.PoolConnectionProxy, settlement: Settlement) -> None:
    if not settlement.operations:
        return
    await connection.copy_records_to_table(
        "operation",
        columns=("identity", "id", "shard", "day", "kind", "at", "terms"),
        records=[
            (
                bytes.fromhex(operation.identity),
                operation.id,
                settlement.shard,
                date_of(operation.id),
                "packet" if isinstance(operation.terms, PacketTerms) else "topup",
                utc(operation.at_ms),
                _encode(operation.terms),
            )
            for operation in settlement.operations
        ],
    )


def _state_of(packet: PacketRow) -> str:
    return "sold_out" if packet.claimed_shares == packet.terms.split.shares else "open"


async def _write_packets(connection: asyncpg.pool.PoolConnectionProxy, settlement: Settlement) -> None:
    opened = {operation.id for operation in settlement.operations}
    fresh = [packet for packet in settlement.packets.values() if packet.id in opened]
    moved = [packet for packet in settlement.packets.values() if packet.id not in opened]
    if fresh:
        await connection.copy_records_to_table(
            "packet",
            columns=_PACKET_COLUMNS,
            records=[_packet_record(settlement.shard, packet) for packet in fresh],
        )
    if moved:
        await connection.execute(
            QUERIES["move_packets"],
            [date_of(packet.id) for packet in moved],
            [packet.id for packet in moved],
            [packet.claimed_shares for packet in moved],
            [packet.claimed_minor for packet in moved],
            [packet.last_sequence for packet in moved],
            [_state_of(packet) for packet in moved],
        )


_PACKET_COLUMNS = (
    "day",
    "id",
    "shard",
    "owner",
    "kind",
    "total_minor",
    "shares",
    "cap_minor",
    "min_minor",
    "currency",
    "greeting",
    "commitment",
    "opened_at",
    "expires_at",
    "state",
    "claimed_shares",
    "claimed_minor",
    "last_sequence",
)


def _packet_record(shard: int, packet: PacketRow) -> tuple[object, ...]:
    terms, split = packet.terms, packet.terms.split
    return (
        date_of(packet.id),
        packet.id,
        shard,
        terms.owner,
        split.kind,
        split.total_minor,
        split.shares,
        split.cap_minor,
        split.min_minor,
        terms.currency,
        terms.greeting,
        packet.commitment,
        utc(packet.at_ms),
        utc(packet.at_ms + terms.expires_in_s * 1000),
        _state_of(packet),
        packet.claimed_shares,
        packet.claimed_minor,
        packet.last_sequence,
    )


async def _write_claims(connection: asyncpg.pool.PoolConnectionProxy, settlement: Settlement) -> None:
    if not settlement.claims:
        return
    await connection.copy_records_to_table(
        "claim",
        columns=("day", "packet", "share", "owner", "sequence", "amount_minor", "claimed_at"),
        records=[
            (
                date_of(claim.packet),
                claim.packet,
                claim.share,
                claim.owner,
                claim.sequence,
                claim.amount_minor,
                utc(claim.at_ms),
            )
            for claim in settlement.claims
        ],
    )


async def _write_postings(connection: asyncpg.pool.PoolConnectionProxy, settlement: Settlement) -> None:
    if not settlement.postings:
        return
    movements = sum_movements(settlement.postings)
    keys = (
        [account.shard for account in movements],
        [account.owner for account in movements],
        [account.kind for account in movements],
    )
    await connection.execute(QUERIES["open_accounts"], *keys)
    rows = await connection.fetch(
        QUERIES["move_accounts"],
        *keys,
        [movement.debits_minor for movement in movements.values()],
        [movement.credits_minor for movement in movements.values()],
        [movement.postings for movement in movements.values()],
    )
    moved = {
        Account(row["shard"], row["owner"], row["kind"]): (
            row["id"],
            row["version"],
            row["credits_minor"] - row["debits_minor"],
        )
        for row in rows
    }
    balances = balances_before(moved, movements)
    await connection.copy_records_to_table(
        "posting",
        columns=_POSTING_COLUMNS,
        records=[
            (
                date_of(posting.operation),
                settlement.shard,
                posting.kafka_offset,
                posting.item,
                posting.kind,
                posting.operation,
                debit.id,
                debit.version,
                debit.balance_minor,
                credit.id,
                credit.version,
                credit.balance_minor,
                posting.amount_minor,
                utc(posting.at_ms),
            )
            for posting, (debit, credit) in zip(
                settlement.postings, post_in_order(settlement.postings, balances), strict=True
            )
        ],
    )


_POSTING_COLUMNS = (
    "day",
    "shard",
    "kafka_offset",
    "item",
    "kind",
    "operation",
    "debit_account",
    "debit_version",
    "debit_balance_minor",
    "credit_account",
    "credit_version",
    "credit_balance_minor",
    "amount_minor",
    "at",
)
