"""Reads the part of the ledger that some records name, inside the transaction that settles them."""

from collections.abc import Iterable

import asyncpg
from msgspec import msgpack

from ledger.settle.decide import Rejected
from ledger.settle.queries import QUERIES
from ledger.settle.state import ClaimRow, LedgerState, OperationRow, PacketRow
from redpacket.events import PacketClosed, PacketOpened, PacketTerms, ShareClaimed, Terms, WalletToppedUp
from redpacket.ids import OperationId, date_of, parse_id, unix_ms
from redpacket.log.record import Batch, Record
from redpacket.sql import of_days

_decode_terms = msgpack.Decoder(Terms).decode
_decode_packet_terms = msgpack.Decoder(PacketTerms).decode


async def read_state(
    connection: asyncpg.pool.PoolConnectionProxy,
    epoch_fenced: int,
    records: Iterable[Record | Rejected],
    every_claim: bool,
) -> LedgerState:
    """What the ledger holds of the operations, packets and claims in `records`.

    A claim is looked up only where its sequence says that it may be there already, unless `every_claim`: most are new.
    """
    state = LedgerState(epoch_fenced)
    events = [event for record in records if isinstance(record, Batch) for event in record.events]
    claims = [event for event in events if isinstance(event, ShareClaimed)]
    opened = [event.id for event in events if isinstance(event, PacketOpened | WalletToppedUp)]
    # An id that is none is the decision's to set aside; here it only names nothing.
    ids = {text: known for text in opened if (known := parse_id(text))}
    named = {event.packet for event in events if isinstance(event, ShareClaimed | PacketClosed)}
    named |= {event.id for event in events if isinstance(event, PacketOpened)}
    packets = {text: known for text in named if (known := parse_id(text))}
    if ids:
        await _read_operations(connection, state, ids)
    if packets:
        await _read_packets(connection, state, packets)
        await _read_claims(connection, state, [claim for claim in claims if _may_be_held(state, claim, every_claim)])
    return state


async def _read_operations(
    connection: asyncpg.pool.PoolConnectionProxy, state: LedgerState, ids: dict[str, OperationId]
) -> None:
    identities = [bytes.fromhex(known.identity) for known in ids.values()]
    for row in await connection.fetch(QUERIES["held_operations"], identities):
        identity = row["identity"].hex()
        operation = OperationRow(identity, row["id"], unix_ms(row["at"]), _decode_terms(row["terms"]))
        state.operations[identity] = operation


async def _read_packets(
    connection: asyncpg.pool.PoolConnectionProxy, state: LedgerState, packets: dict[str, OperationId]
) -> None:
    days = [known.date for known in packets.values()]
    identities = [bytes.fromhex(known.identity) for known in packets.values()]
    for row in await connection.fetch(of_days(QUERIES["held_packets"], set(days)), days, list(packets), identities):
        state.packets[row["id"]] = PacketRow(
            row["id"],
            _decode_packet_terms(row["terms"]),
            row["commitment"],
            unix_ms(row["opened_at"]),
            row["claimed_shares"],
            row["claimed_minor"],
            row["last_sequence"],
            row["state"] if row["over_at"] else "",
            row["refunded_minor"],
            unix_ms(row["over_at"]) if row["over_at"] else 0,
        )


def _may_be_held(state: LedgerState, claim: ShareClaimed, every_claim: bool) -> bool:
    packet = state.packets.get(claim.packet)
    return packet is not None and (every_claim or claim.sequence <= packet.last_sequence)


async def _read_claims(
    connection: asyncpg.pool.PoolConnectionProxy, state: LedgerState, claims: list[ShareClaimed]
) -> None:
    if not claims:
        return
    days = [date_of(claim.packet) for claim in claims]
    packets, shares = [claim.packet for claim in claims], [claim.share for claim in claims]
    owners = [claim.owner for claim in claims]
    for row in await connection.fetch(of_days(QUERIES["held_claims"], set(days)), days, packets, shares, owners):
        claim = ClaimRow(
            row["packet"],
            row["share"],
            row["owner"],
            row["sequence"],
            row["amount_minor"],
            unix_ms(row["claimed_at"]),
        )
        state.claims_by_share[claim.packet, claim.share] = claim
        state.claims_by_owner[claim.packet, claim.owner] = claim
