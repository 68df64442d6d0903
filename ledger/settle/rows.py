"""A settlement as rows of the ledger's tables: pure functions, each row in the order of its columns."""

from collections.abc import Iterable

from msgspec import msgpack

from ledger.settle.balances import Balance
from ledger.settle.decide import DeadLetter, Posting
from ledger.settle.state import ClaimRow, OperationRow, PacketRow
from ledger.settle.subject import subject_of
from redpacket.events import PacketTerms
from redpacket.ids import date_of, utc

Row = tuple[object, ...]

_encode = msgpack.Encoder().encode

OPERATION = ("identity", "id", "shard", "day", "kind", "at", "terms")


def operation_row(shard: int, operation: OperationRow) -> Row:
    kind = "packet" if isinstance(operation.terms, PacketTerms) else "topup"
    identity, day = bytes.fromhex(operation.identity), date_of(operation.id)
    return identity, operation.id, shard, day, kind, utc(operation.at_ms), _encode(operation.terms)


PACKET = (
    *("day", "id", "shard", "owner", "kind", "total_minor", "shares", "cap_minor", "min_minor"),
    *("currency", "greeting", "commitment", "opened_at", "expires_at"),
    *("state", "claimed_shares", "claimed_minor", "last_sequence", "refunded_minor", "over_at"),
)


def packet_row(shard: int, packet: PacketRow) -> Row:
    terms, split = packet.terms, packet.terms.split
    return (
        *(date_of(packet.id), packet.id, shard, terms.owner),
        *(split.kind, split.total_minor, split.shares, split.cap_minor, split.min_minor),
        *(terms.currency, terms.greeting, packet.commitment),
        *(utc(packet.at_ms), utc(packet.at_ms + terms.expires_in_s * 1000)),
        *_moving(packet),
    )


def _moving(packet: PacketRow) -> Row:
    """What claims and a close change, in the order of the last columns of PACKET."""
    sold_out = packet.claimed_shares == packet.terms.split.shares
    state = packet.over or ("sold_out" if sold_out else "open")
    over_at = utc(packet.over_at_ms) if packet.over else None
    claimed = packet.claimed_shares, packet.claimed_minor, packet.last_sequence
    return state, *claimed, packet.refunded_minor, over_at


CLAIM = ("day", "packet", "share", "owner", "sequence", "amount_minor", "claimed_at")


def claim_row(claim: ClaimRow) -> Row:
    day, at = date_of(claim.packet), utc(claim.at_ms)
    return day, claim.packet, claim.share, claim.owner, claim.sequence, claim.amount_minor, at


POSTING = (
    *("day", "shard", "kafka_offset", "item", "kind", "operation", "amount_minor", "at"),
    *("debit_account", "debit_version", "debit_balance_minor"),
    *("credit_account", "credit_version", "credit_balance_minor"),
    "request",
)


def posting_row(shard: int, posting: Posting, debit: Balance, credit: Balance) -> Row:
    """`debit` and `credit` as they are after it."""
    return (
        *(date_of(posting.operation), shard, posting.kafka_offset, posting.item, posting.kind, posting.operation),
        *(posting.amount_minor, utc(posting.at_ms)),
        *(debit.id, debit.version, debit.balance_minor),
        *(credit.id, credit.version, credit.balance_minor),
        posting.request,
    )


DEAD_LETTER = ("shard", "kafka_offset", "item", "subject", "reason", "event", "packed", "at_ms")


def dead_letter_row(shard: int, letter: DeadLetter) -> Row:
    place, event = (shard, letter.kafka_offset, letter.item), letter.event
    return *place, subject_of(event), letter.reason, repr(event), _encode(event), letter.at_ms


def moved_packets(packets: Iterable[PacketRow]) -> tuple[list[object], ...]:
    """What has changed, as columns for `move_packets`."""
    rows = [(date_of(packet.id), packet.id, *_moving(packet)) for packet in packets]
    return tuple(list(column) for column in zip(*rows, strict=True))
