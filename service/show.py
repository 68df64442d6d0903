"""A packet as those who ask see it: what is confirmed, and nothing that may yet die."""

from msgspec import UNSET

from redpacket.shard.outbox import ReservedClaim
from redpacket.shard.read import HeldPacket
from redpacket.split import commitment
from service.words import Packet, PacketState, time_of

# Nothing of such a packet moves any more.
FINAL = ("sold_out", "closed", "expired")


def show_packet(id: str, held: HeldPacket, claimed_minor: int, seed: bytes) -> Packet:
    """`claimed_minor`: what its confirmed claims come to: of the shares handed out so far those that are not free."""
    terms, split = held.head.terms, held.head.terms.split
    free, state = free_shares(id, held), state_of(id, held)
    refunded = state in ("closed", "expired")
    left_minor, shares_left = split.total_minor - claimed_minor, split.shares - held.head.handed_out + len(free)
    return Packet(
        id=id,
        state=state,
        owner=terms.owner,
        kind=split.kind,
        total=split.total_minor,
        shares=split.shares,
        cap=split.cap_minor,
        min=split.min_minor,
        currency=terms.currency,
        greeting=terms.greeting,
        remaining=0 if refunded else left_minor,
        remaining_shares=0 if refunded else shares_left,
        refunded=left_minor if refunded else 0,
        commitment=commitment(seed, split),
        created_at=time_of(held.head.at_ms),
        expires_at=time_of(held.head.expires_at_ms),
        seed=seed.hex() if state in FINAL else UNSET,
    )


def free_shares(id: str, held: HeldPacket) -> frozenset[int]:
    """Of the share numbers handed out so far, those that are in no confirmed claim."""
    unconfirmed = (
        item.share
        for entry in held.unconfirmed
        for item in entry.items
        if isinstance(item, ReservedClaim) and item.packet == id
    )
    return frozenset(held.head.holes).union(unconfirmed)


def state_of(id: str, held: HeldPacket) -> PacketState:
    if held.head.handed_out == held.head.terms.split.shares and not free_shares(id, held):
        return "sold_out"
    match held.head.state:
        case "closing" | "closed" | "expired" as state:
            return state
        case _:
            # No claim succeeds once its time is over, and what is left is about to go back.
            return "closing" if held.head.now_ms >= held.head.expires_at_ms else "open"
