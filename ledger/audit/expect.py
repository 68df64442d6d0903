"""What an event of the log must have become in the ledger: worked out here from the event alone, and not by the code
that settles, so that a mistake there is seen here. Pure functions."""

from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct, msgpack

from redpacket.events import Event, PacketClosed, PacketOpened, ShareClaimed, Terms, WalletToppedUp
from redpacket.ids import parse_id, shard_of


class Row(Protocol):
    """A row of the ledger by the names of its columns."""

    def __getitem__(self, column: str, /) -> Any: ...


# By column of the view `movement`, what must be there.
Expected = dict[str, object]

_decode_terms = msgpack.Decoder(Terms).decode


class Place(Struct, frozen=True, order=True):
    """Where in the log an event is."""

    shard: int
    kafka_offset: int
    item: int

    def __str__(self) -> str:
        return f"{self.shard}/{self.kafka_offset}/{self.item}"


def expected_movement(event: Event, shard: int, at_ms: int, shards: int, packet_owner: object) -> Expected:
    """`shard`: whose partition it is in. `packet_owner`: who sent the packet, by its row: the event does not say."""
    match event:
        case PacketOpened(id=id, terms=terms, commitment=commitment):
            split = terms.split
            expected: Expected = _operation(id, shard, at_ms, "packet", split.total_minor) | {
                "packet_owner": terms.owner,
                "split_kind": split.kind,
                "total_minor": split.total_minor,
                "shares": split.shares,
                "cap_minor": split.cap_minor,
                "min_minor": split.min_minor,
                "currency": terms.currency,
                "greeting": terms.greeting,
                "commitment": commitment,
                "opened_at_ms": at_ms,
                "expires_at_ms": at_ms + terms.expires_in_s * 1000,
            }
            ways = _wallet("debit", terms.owner, shards), _escrow("credit", terms.owner, shard)
        case WalletToppedUp(id=id, terms=terms):
            expected = _operation(id, shard, at_ms, "topup", terms.amount_minor)
            funding = {"debit_shard": shard, "debit_owner": "@funding", "debit_kind": "funding"}
            ways = funding, _wallet("credit", terms.owner, shards)
        case ShareClaimed(packet=packet, owner=owner, share=share, amount_minor=amount_minor, sequence=sequence):
            expected = _of_packet(packet, at_ms, "claim", amount_minor) | {
                "share": share,
                "claim_owner": owner,
                "sequence": sequence,
                "claim_minor": amount_minor,
                "claimed_at_ms": at_ms,
            }
            ways = _escrow("debit", packet_owner, shard), _wallet("credit", owner, shards)
        case PacketClosed(packet=packet, state=state, refunded_minor=refunded_minor):
            expected = _of_packet(packet, at_ms, "refund", refunded_minor) | {
                "state": state,
                "refunded_minor": refunded_minor,
                "over_at_ms": at_ms,
            }
            ways = _escrow("debit", packet_owner, shard), _wallet("credit", packet_owner, shards)
    return expected | ways[0] | ways[1]


def differences(event: Event, expected: Expected, row: Row) -> Iterator[str]:
    """`column is this, the log says that`, for each column that differs."""
    for column, wanted in expected.items():
        if row[column] != wanted:
            yield f"{column} is {row[column]!r}, the log says {wanted!r}"
    if isinstance(event, PacketOpened | WalletToppedUp) and decoded_terms(row["terms"]) != event.terms:
        yield f"terms are {decoded_terms(row['terms'])}, the log says {event.terms}"
    # A version before this one kept no request.
    if row["request"] not in ("", event.request):
        yield f"request is {row['request']!r}, the log says {event.request!r}"


def expected_known(event: Event, at_ms: int) -> Expected:
    """What the ledger must know already of an event that it calls a repeat, by column of `claims_known` or
    `operations_known`."""
    match event:
        case PacketOpened(id=id, commitment=commitment):
            return {"id": id, "at_ms": at_ms, "commitment": commitment}
        case WalletToppedUp(id=id):
            return {"id": id, "at_ms": at_ms}
        case ShareClaimed(packet=packet, owner=owner, share=share, amount_minor=amount_minor, sequence=sequence):
            claim = {"owner": owner, "sequence": sequence, "amount_minor": amount_minor, "at_ms": at_ms}
            return {"packet": packet, "share": share} | claim
        case PacketClosed(packet=packet, state=state, refunded_minor=refunded_minor):
            return {"id": packet, "state": state, "refunded_minor": refunded_minor, "over_at_ms": at_ms}


def unlike_what_is_known(event: Event, at_ms: int, known: Row | None) -> str:
    """Why the ledger cannot have known this event before; '' where it can."""
    if known is None:
        return "the ledger has nothing of it"
    wrong = [
        f"{column} is {known[column]!r}, the log says {wanted!r}"
        for column, wanted in expected_known(event, at_ms).items()
        if known[column] != wanted
    ]
    if isinstance(event, PacketOpened | WalletToppedUp) and decoded_terms(known["terms"]) != event.terms:
        wrong.append(f"terms are {decoded_terms(known['terms'])}, the log says {event.terms}")
    return "; ".join(wrong)


def decoded_terms(packed: object) -> Terms | None:
    """Compared as what they say: a later version may write the same terms in other bytes."""
    return _decode_terms(packed) if isinstance(packed, bytes) else None


def in_words(event: Event) -> str:
    match event:
        case PacketOpened(id=id, terms=terms):
            return f"packet {id} of {terms.split.total_minor} sent by {terms.owner}"
        case WalletToppedUp(id=id, terms=terms):
            return f"top-up {id} of {terms.amount_minor} for {terms.owner}"
        case ShareClaimed(packet=packet, owner=owner, share=share, amount_minor=amount_minor):
            return f"claim of {amount_minor} by {owner} (share {share} of packet {packet})"
        case PacketClosed(packet=packet, refunded_minor=refunded_minor):
            return f"refund of {refunded_minor} of packet {packet}"


def _operation(id: str, shard: int, at_ms: int, kind: str, amount_minor: int) -> Expected:
    known = parse_id(id)
    return _of_packet(id, at_ms, kind, amount_minor) | {
        "operation_shard": shard,
        "identity": bytes.fromhex(known.identity) if known else None,
        "operation_at_ms": at_ms,
    }


def _of_packet(id: str, at_ms: int, kind: str, amount_minor: int) -> Expected:
    known = parse_id(id)
    day = known.date if known else None
    return {"day": day, "kind": kind, "operation": id, "amount_minor": amount_minor, "at_ms": at_ms}


def _wallet(side: str, owner: object, shards: int) -> Expected:
    return {f"{side}_shard": shard_of(str(owner), shards), f"{side}_owner": owner, f"{side}_kind": "wallet"}


def _escrow(side: str, owner: object, shard: int) -> Expected:
    return {f"{side}_shard": shard, f"{side}_owner": owner, f"{side}_kind": "escrow"}
