"""What the API takes and gives, as it is spelled in JSON. Amounts are in minor units, times in RFC 3339 UTC."""

import time
from functools import lru_cache
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from redpacket.money import AmountMinor, Owner
from redpacket.split import SHARES_MAX

# Control characters are refused: Postgres cannot hold NUL, and the others move a reader's screen. So are the characters
# that override the direction of what follows, with which a text can look like another. Arabic and Hebrew need none.
Text200 = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*(?![\s\S])",
        description="At most 200 characters: none is a control character or overrides the direction of text "
        "(U+202A-202E, U+2066-2069), and at least one is visible; or empty.",
        examples=["恭喜發財"],
    ),
]
Currency = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z]{3}(?![\s\S])",
        description="ISO 4217. A deployment has one; in a request it may be left out.",
        examples=["CNY"],
    ),
]
Minor = Annotated[int, Meta(description="Minor units (fen of CNY).", examples=[1000])]
Share = Annotated[int, Meta(description="Its number, from 1 to `shares`.", ge=1, le=SHARES_MAX, examples=[7])]
Id = Annotated[
    str,
    Meta(
        description="Opaque: to be kept and given back as it is.", examples=["0b512d5f3a9c0e7d41b26688f02c9ae7135d44"]
    ),
]
Time = Annotated[str, Meta(description="RFC 3339, UTC.", examples=["2026-02-17T08:00:00.000Z"])]
Next = Annotated[str | None, Meta(description="What to pass as `after` for the next page; null at the end.")]
PacketKind = Annotated[
    Literal["lucky", "equal"],
    Meta(description="`lucky`: random amounts, fixed at creation. `equal`: all the same; `total` divides by `shares`."),
]
PacketState = Annotated[
    Literal["open", "sold_out", "closing", "closed", "expired"],
    Meta(
        description="`open`; `sold_out` once every share is confirmed; `closing` while what is left is about to go "
        "back; `closed` (by its owner) or `expired` once it has."
    ),
]


class ClaimRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is asked for but a share."""


class CloseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is asked for but the end."""


class TopUpRequest(Struct, frozen=True, forbid_unknown_fields=True):
    owner: Owner
    amount: AmountMinor
    currency: Currency | UnsetType = UNSET


class PacketRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`cap` and `min` bind every share; without them it is from 1 to `total`."""

    kind: PacketKind
    total: AmountMinor
    shares: Annotated[int, Meta(ge=1, le=SHARES_MAX, description="How many people get one.", examples=[10])]
    cap: AmountMinor | UnsetType = UNSET
    min: AmountMinor = 1
    currency: Currency | UnsetType = UNSET
    greeting: Text200 = ""
    expires_in_s: Annotated[int, Meta(ge=1, le=604_800, description="Seconds; at most 7 days.")] = 86_400


class Pending(Struct, frozen=True):
    """The outcome is not known yet: the same request again resolves it."""

    state: Literal["pending"] = "pending"
    id: Id | UnsetType = UNSET
    packet: Id | UnsetType = UNSET


class TopUp(Struct, frozen=True):
    id: Id
    owner: Owner
    amount: Minor
    currency: Currency


class Claim(Struct, frozen=True):
    packet: Id
    share: Share
    amount: Minor
    currency: Currency
    claimed_at: Time


class ListedClaim(Struct, frozen=True):
    """`settled`: known to be in the ledger. `best`: the luckiest of a lucky packet, told once the packet is final."""

    owner: Owner
    share: Share
    amount: Minor
    claimed_at: Time
    settled: bool
    best: bool


class ClaimList(Struct, frozen=True):
    """One page of a packet's confirmed claims."""

    claims: list[ListedClaim]
    next: Next


class Packet(Struct, frozen=True):
    """`remaining` and `remaining_shares`: what is in no confirmed claim and has not gone back to the sender. `seed`
    only once it is sold out, closed or expired."""

    id: Id
    state: PacketState
    owner: Owner
    kind: PacketKind
    total: Minor
    shares: int
    cap: Minor
    min: Minor
    currency: Currency
    greeting: str
    remaining: Minor
    remaining_shares: int
    refunded: Minor
    commitment: Annotated[str, Meta(description="Binds the split before anyone has claimed: see docs/split.md.")]
    created_at: Time
    expires_at: Time
    seed: Annotated[str, Meta(description="32 bytes in hex: with it the split can be recomputed.")] | UnsetType = UNSET


class Wallet(Struct, frozen=True):
    """The ledger's view at `as_of`. `held` is in escrow for what is not final yet."""

    owner: Owner
    currency: Currency
    available: Minor
    held: Minor
    as_of: Time


class Entry(Struct, frozen=True):
    """One movement of a wallet: `amount` is negative where money went out. `operation` is what it belongs to.

    `at` is when it happened, as the packet, the claim or the close itself says. It was settled a moment later, at
    `settled_at`, and a statement is in that order: along it `settled_at` never goes back, and `at` may. `settled_at` is
    left out where an earlier version has settled the entry.
    """

    id: Id
    kind: Literal["topup", "packet", "claim", "refund"]
    amount: Minor
    balance_after: Minor
    operation: Id
    at: Time
    settled_at: Time | UnsetType = UNSET


class Statement(Struct, frozen=True):
    """One page of the ledger's view at `as_of`, in the order in which entries were settled: each `balance_after` is the
    one before it plus the amount."""

    currency: Currency
    entries: list[Entry]
    next: Next
    as_of: Time


class Operation(Struct, frozen=True):
    """What became of a request: `state` is that of the packet, or `captured` once a top-up is in the ledger."""

    kind: Literal["packet", "topup"]
    id: Id
    state: PacketState | Literal["captured"]


def time_of(at_ms: int) -> str:
    """RFC 3339 UTC with milliseconds, of milliseconds since 1970-01-01 UTC."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
