"""What a record moves: a pure function of the ledger's state and the record. No clock, no settings, no server.

It never refuses for lack of money. What contradicts the ledger is set aside as a dead letter, never applied in silence.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct

from ledger.settle.state import Account, ClaimRow, LedgerState, OperationRow, PacketRow
from redpacket.events import Event, PacketClosed, PacketOpened, ShareClaimed, WalletToppedUp
from redpacket.ids import parse_id
from redpacket.log.record import Batch, Fence, Record


class Posting(Struct, frozen=True):
    """`amount_minor` moves from `debit` to `credit`, as `request` has asked, by item number `item` of the record at
    `kafka_offset`."""

    kafka_offset: int
    item: int
    kind: str
    operation: str
    debit: Account
    credit: Account
    amount_minor: int
    at_ms: int
    request: str = ""


class DeadLetter(Struct, frozen=True):
    """An event that is set aside until a person has decided; `at_ms` is the time of its record."""

    kafka_offset: int
    item: int
    reason: str
    event: Event
    at_ms: int


class Rejected(Struct, frozen=True):
    """Stands for a record that a person has rejected as a whole: it moves nothing."""


class SettledRecord(Struct, frozen=True):
    """How many of the record's events were applied, were repeats of applied ones, were of a lower epoch. A Fence is
    applied where it was the highest so far: its opener goes on only then. A record that was rejected as a whole counts
    as one ignored event of epoch 0."""

    kafka_offset: int
    epoch: int
    applied: int
    repeated: int
    ignored: int


class ContradictionError(Exception):
    """An event does not agree with what the ledger holds."""


@dataclass
class Settlement:
    """What one transaction will write. `state` moves along as the records are decided."""

    shard: int
    shard_of: Callable[[str], int]
    state: LedgerState
    operations: list[OperationRow] = field(default_factory=list)
    packets: dict[str, PacketRow] = field(default_factory=dict)
    claims: list[ClaimRow] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    # Redis has contradicted the ledger under this epoch: what it holds is not to be trusted any more. 0: it has not.
    epoch_shut: int = 0
    records: list[SettledRecord] = field(default_factory=list)


def settle_record(settlement: Settlement, kafka_offset: int, record: Record | Rejected) -> None:
    """Decides one record; what it moves is added to the settlement."""
    match record:
        case Fence(epoch):
            # The highest ever seen: an old owner's late Fence must not let a lower epoch in again.
            raised = epoch > settlement.state.epoch_fenced
            settlement.state.epoch_fenced = max(settlement.state.epoch_fenced, epoch)
            settlement.records.append(SettledRecord(kafka_offset, epoch, int(raised), 0, 0))
        case Batch():
            settlement.records.append(_settle_batch(settlement, kafka_offset, record))
        case Rejected():
            settlement.records.append(SettledRecord(kafka_offset, 0, 0, 0, 1))


def _settle_batch(settlement: Settlement, kafka_offset: int, batch: Batch) -> SettledRecord:
    if batch.epoch < settlement.state.epoch_fenced:
        # Reserved on a Redis that has been fenced off: never confirmed to anyone, so never applied.
        return SettledRecord(kafka_offset, batch.epoch, 0, 0, len(batch.events))
    applied = repeated = 0
    for item, event in enumerate(batch.events):
        place = _Place(kafka_offset, item, batch.at_ms, event.request)
        try:
            if _settle_event(settlement, place, event):
                applied += 1
            else:
                repeated += 1
        except ContradictionError as contradiction:
            settlement.dead_letters.append(DeadLetter(kafka_offset, item, str(contradiction), event, batch.at_ms))
            # Not the record's own epoch: whatever it says, an opening with a higher number must end this.
            settlement.epoch_shut = settlement.state.epoch_fenced
    return SettledRecord(kafka_offset, batch.epoch, applied, repeated, 0)


class _Place(Struct, frozen=True):
    kafka_offset: int
    item: int
    at_ms: int
    request: str


def _settle_event(settlement: Settlement, place: _Place, event: Event) -> bool:
    """True where it moved money, false where it is a repeat that agrees in every field. Raises ContradictionError."""
    match event:
        case PacketOpened():
            return _open_packet(settlement, place, event)
        case ShareClaimed():
            return _claim_share(settlement, place, event)
        case PacketClosed():
            return _close_packet(settlement, place, event)
        case WalletToppedUp():
            return _top_up_wallet(settlement, place, event)


def _record_operation(settlement: Settlement, place: _Place, event: PacketOpened | WalletToppedUp) -> bool:
    known = parse_id(event.id)
    if known is None or known.shard != settlement.shard:
        raise ContradictionError(f"{event.id} is not an id of shard {settlement.shard}")
    held = settlement.state.operations.get(known.identity)
    if held is not None:
        if held != OperationRow(known.identity, event.id, place.at_ms, event.terms):
            raise ContradictionError(f"the ledger holds {held}")
        return False
    operation = OperationRow(known.identity, event.id, place.at_ms, event.terms)
    settlement.state.operations[known.identity] = operation
    settlement.operations.append(operation)
    return True


def _post(
    settlement: Settlement, place: _Place, kind: str, operation: str, debit: Account, credit: Account, amount: int
) -> None:
    settlement.postings.append(
        Posting(place.kafka_offset, place.item, kind, operation, debit, credit, amount, place.at_ms, place.request)
    )


def _wallet(settlement: Settlement, owner: str) -> Account:
    return Account(settlement.shard_of(owner), owner, "wallet")


def _escrow(settlement: Settlement, owner: str) -> Account:
    return Account(settlement.shard, owner, "escrow")


def _open_packet(settlement: Settlement, place: _Place, event: PacketOpened) -> bool:
    if not _record_operation(settlement, place, event):
        held = settlement.state.packets.get(event.id)
        if held is None or held.commitment != event.commitment:
            raise ContradictionError(f"packet {event.id} was opened with another commitment")
        return False
    terms = event.terms
    packet = PacketRow(event.id, terms, event.commitment, place.at_ms)
    settlement.state.packets[event.id] = packet
    settlement.packets[event.id] = packet
    wallet, escrow = _wallet(settlement, terms.owner), _escrow(settlement, terms.owner)
    _post(settlement, place, "packet", event.id, wallet, escrow, terms.split.total_minor)
    return True


def _claim_share(settlement: Settlement, place: _Place, event: ShareClaimed) -> bool:
    packet = settlement.state.packets.get(event.packet)
    if packet is None:
        raise ContradictionError(f"the ledger holds no packet {event.packet}")
    claim = ClaimRow(event.packet, event.share, event.owner, event.sequence, event.amount_minor, place.at_ms)
    held = settlement.state.claims_by_share.get((event.packet, event.share))
    held_by_owner = settlement.state.claims_by_owner.get((event.packet, event.owner))
    if held is not None or held_by_owner is not None:
        if held != claim or held_by_owner != claim:
            raise ContradictionError(f"the ledger holds {held or held_by_owner}")
        return False
    _check_share(packet, event)
    settlement.state.claims_by_share[event.packet, event.share] = claim
    settlement.state.claims_by_owner[event.packet, event.owner] = claim
    settlement.claims.append(claim)
    packet.claimed_minor += event.amount_minor
    packet.claimed_shares += 1
    packet.last_sequence = max(packet.last_sequence, event.sequence)
    settlement.packets[event.packet] = packet
    escrow, wallet = _escrow(settlement, packet.terms.owner), _wallet(settlement, event.owner)
    _post(settlement, place, "claim", event.packet, escrow, wallet, event.amount_minor)
    return True


def _check_share(packet: PacketRow, event: ShareClaimed) -> None:
    """Raises ContradictionError unless the split can have such a share, and what is left the shares that are left."""
    split = packet.terms.split
    if not 1 <= event.share <= split.shares:
        raise ContradictionError(f"packet {event.packet} has {split.shares} shares")
    if packet.over:
        raise ContradictionError(f"what was left of packet {event.packet} has gone back")
    left_minor = split.total_minor - packet.claimed_minor - event.amount_minor
    shares_left = split.shares - packet.claimed_shares - 1
    if not split.min_minor <= event.amount_minor <= split.cap_minor or not (
        shares_left * split.min_minor <= left_minor <= shares_left * split.cap_minor
    ):
        raise ContradictionError(f"{event.amount_minor} is not what the split of packet {event.packet} has left")


def _close_packet(settlement: Settlement, place: _Place, event: PacketClosed) -> bool:
    packet = settlement.state.packets.get(event.packet)
    if packet is None:
        raise ContradictionError(f"the ledger holds no packet {event.packet}")
    if packet.over:
        held = packet.over, packet.refunded_minor, packet.over_at_ms
        if held != (event.state, event.refunded_minor, place.at_ms):
            raise ContradictionError(f"packet {event.packet} is over: {held}")
        return False
    left_minor = packet.terms.split.total_minor - packet.claimed_minor
    if event.refunded_minor != left_minor or not left_minor:
        raise ContradictionError(f"{left_minor} is left of packet {event.packet}, not {event.refunded_minor}")
    packet.over, packet.refunded_minor, packet.over_at_ms = event.state, event.refunded_minor, place.at_ms
    settlement.packets[event.packet] = packet
    owner = packet.terms.owner
    escrow, wallet = _escrow(settlement, owner), _wallet(settlement, owner)
    _post(settlement, place, "refund", event.packet, escrow, wallet, event.refunded_minor)
    return True


def _top_up_wallet(settlement: Settlement, place: _Place, event: WalletToppedUp) -> bool:
    if not _record_operation(settlement, place, event):
        return False
    funding = Account(settlement.shard, "@funding", "funding")
    wallet = _wallet(settlement, event.terms.owner)
    _post(settlement, place, "topup", event.id, funding, wallet, event.terms.amount_minor)
    return True
