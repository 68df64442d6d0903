"""What a packet shows of what Redis holds of it: confirmed claims count, and what may yet die does not."""

from typing import Any

import pytest

from redpacket.events import PacketTerms
from redpacket.shard.outbox import Entry, ReservedClaim
from redpacket.shard.read import HeldPacket, PacketHead
from redpacket.split import SplitParameters, split_amounts
from service.show import free_shares, show_packet

ID = "00512d" + "0" * 32
AT_MS = 1_771_315_200_123
SPLIT = SplitParameters("lucky", 1000, 4, 1000, 1)
SEED = b"s" * 32


def held(**changed: Any) -> HeldPacket:
    terms = PacketTerms("alice", "CNY", SPLIT, "hi", 60)
    head = {"now_ms": AT_MS, "send_entry": 0, "handed_out": 0, "taken": 0, "state": "", "holes": (), **changed}
    entries = head.pop("entries", ())
    return HeldPacket(PacketHead(at_ms=AT_MS, terms=terms, expires_at_ms=AT_MS + 60_000, **head), entries)


def entry(*shares: int, packet: str = ID) -> Entry:
    return Entry(AT_MS, ((packet, SPLIT),), tuple(ReservedClaim(packet, f"p{n}", n, n) for n in shares))


@pytest.mark.parametrize(
    ("packet", "state", "confirmed"),
    [
        (held(), "open", []),
        (held(handed_out=2, taken=2), "open", [1, 2]),
        (held(handed_out=3, taken=2, holes=(2,)), "open", [1, 3]),
        (held(handed_out=3, taken=3, entries=(entry(2), entry(3))), "open", [1]),
        (held(handed_out=3, taken=3, entries=(entry(3, packet="another"),)), "open", [1, 2, 3]),
        (held(handed_out=4, taken=4), "sold_out", [1, 2, 3, 4]),
        (held(handed_out=4, taken=4, entries=(entry(4),)), "open", [1, 2, 3]),
        (held(handed_out=4, taken=3, holes=(4,)), "open", [1, 2, 3]),
        (held(handed_out=2, taken=2, state="closing"), "closing", [1, 2]),
        (held(handed_out=2, taken=2, now_ms=AT_MS + 59_999), "open", [1, 2]),
        (held(handed_out=2, taken=2, now_ms=AT_MS + 60_000), "closing", [1, 2]),
        (held(handed_out=4, taken=4, now_ms=AT_MS + 60_000), "sold_out", [1, 2, 3, 4]),
        (held(handed_out=2, taken=2, state="closed"), "closed", [1, 2]),
        (held(handed_out=4, taken=3, holes=(2,), state="expired"), "expired", [1, 3, 4]),
    ],
)
def test_a_packet_counts_confirmed_claims_only(packet: HeldPacket, state: str, confirmed: list[int]) -> None:
    amounts = split_amounts(SEED, SPLIT)
    claimed_minor = sum(amounts[share - 1] for share in confirmed)
    assert free_shares(ID, packet) == set(range(1, packet.head.handed_out + 1)).difference(confirmed)
    seen = show_packet(ID, packet, claimed_minor, SEED)
    assert seen.state == state
    left, shares_left = 1000 - sum(amounts[share - 1] for share in confirmed), 4 - len(confirmed)
    over = state in ("closed", "expired")
    assert (seen.remaining, seen.remaining_shares) == ((0, 0) if over else (left, shares_left))
    assert seen.refunded == (left if over else 0)
    assert (seen.seed == SEED.hex()) == (over or state == "sold_out")
