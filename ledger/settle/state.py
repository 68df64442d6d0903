"""The part of the ledger that a settlement looks at, and the rows that it adds."""

from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from redpacket.events import PacketTerms, Terms


class Account(Struct, frozen=True, order=True):
    """`shard` is the owner's for a wallet and an escrow; every shard has a funding account of its own."""

    shard: int
    owner: str
    kind: Literal["wallet", "escrow", "funding"]


class OperationRow(Struct, frozen=True):
    identity: str
    id: str
    at_ms: int
    terms: Terms


class ClaimRow(Struct, frozen=True):
    packet: str
    share: int
    owner: str
    sequence: int
    amount_minor: int
    at_ms: int


class PacketRow(Struct):
    """What was claimed and refunded moves, and with it the state; the rest never does."""

    id: str
    terms: PacketTerms
    commitment: str
    at_ms: int
    claimed_shares: int = 0
    claimed_minor: int = 0
    last_sequence: int = 0
    # Once what is left has gone back: what the packet is since then.
    over: Literal["", "closed", "expired"] = ""
    refunded_minor: int = 0
    over_at_ms: int = 0


@dataclass
class LedgerState:
    """The rows that the records at hand name; what is not in here is not in the ledger."""

    epoch_fenced: int
    operations: dict[str, OperationRow] = field(default_factory=dict)
    packets: dict[str, PacketRow] = field(default_factory=dict)
    claims_by_share: dict[tuple[str, int], ClaimRow] = field(default_factory=dict)
    claims_by_owner: dict[tuple[str, str], ClaimRow] = field(default_factory=dict)
