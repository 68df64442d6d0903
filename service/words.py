"""What the API takes and gives, as it is spelled in JSON. Amounts are in minor units, times in RFC 3339 UTC."""

import time
from functools import lru_cache
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from redpacket.money import AmountMinor, Owner
from redpacket.split import SHARES_MAX

# Control characters are refused: Postgres cannot hold NUL, and nobody's screen should be moved by the others.
Text200 = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?![\s\S])")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?![\s\S])")]
Time = Annotated[str, Meta(examples=["2026-02-17T08:00:00.000Z"])]
PacketState = Literal["open", "sold_out", "closing", "closed", "expired"]


class ClaimRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is asked for but a share."""


class CloseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is asked for but the end."""


class TopUpRequest(Struct, frozen=True, forbid_unknown_fields=True):
    owner: Owner
    amount: AmountMinor
    currency: Currency | None = None


class PacketRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`cap` and `min` bind every share; without them it is from 1 to `total`."""

    kind: Literal["lucky", "equal"]
    total: AmountMinor
    shares: Annotated[int, Meta(ge=1, le=SHARES_MAX)]
    cap: AmountMinor | None = None
    min: AmountMinor = 1
    currency: Currency | None = None
    greeting: Text200 = ""
    expires_in_s: Annotated[int, Meta(ge=1, le=604_800)] = 86_400


class Pending(Struct, frozen=True):
    """The outcome is not known yet: the same request again resolves it."""

    state: Literal["pending"] = "pending"
    id: str | UnsetType = UNSET
    packet: str | UnsetType = UNSET


class TopUp(Struct, frozen=True):
    id: str
    owner: str
    amount: int
    currency: str


class Claim(Struct, frozen=True):
    packet: str
    share: int
    amount: int
    currency: str
    claimed_at: Time


class ListedClaim(Struct, frozen=True):
    """`settled`: known to be in the ledger. `best`: the luckiest of a lucky packet, told once the packet is final."""

    owner: str
    share: int
    amount: int
    claimed_at: Time
    settled: bool
    best: bool


class ClaimList(Struct, frozen=True):
    """`next` is what to pass as `after` for the next page, null at the end."""

    claims: list[ListedClaim]
    next: str | None


class Packet(Struct, frozen=True):
    """`remaining` and `remaining_shares`: what is in no confirmed claim and has not gone back to the sender. `seed`
    only once it is sold out, closed or expired."""

    id: str
    state: PacketState
    owner: str
    kind: Literal["lucky", "equal"]
    total: int
    shares: int
    cap: int
    min: int
    currency: str
    greeting: str
    remaining: int
    remaining_shares: int
    refunded: int
    commitment: str
    created_at: Time
    expires_at: Time
    seed: str | UnsetType = UNSET


class Wallet(Struct, frozen=True):
    """The ledger's view at `as_of`. `held` is in escrow for what is not final yet."""

    owner: str
    currency: str
    available: int
    held: int
    as_of: Time


class Entry(Struct, frozen=True):
    """One movement of a wallet: `amount` is negative where money went out. `operation` is what it belongs to."""

    id: str
    kind: Literal["topup", "packet", "claim", "refund"]
    amount: int
    balance_after: int
    operation: str
    at: Time


class Statement(Struct, frozen=True):
    """The ledger's view at `as_of`: each `balance_after` is the one before it plus the amount. `next` is what to pass
    as `after` for the next page, null at the end."""

    currency: str
    entries: list[Entry]
    next: str | None
    as_of: Time


class Operation(Struct, frozen=True):
    """What became of a request: `state` is that of the packet, or `captured` once a top-up is in the ledger."""

    kind: Literal["packet", "topup"]
    id: str
    state: PacketState | Literal["captured"]


def time_of(at_ms: int) -> str:
    """RFC 3339 UTC with milliseconds, of milliseconds since 1970-01-01 UTC."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
