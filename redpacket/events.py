"""The words of the log: what was asked for (terms) and what happened (events).

This is a public contract: it is read by the ledger of this version, of the one before and of the one after. Everything
is a msgpack array; a new field goes to the end and has a default; nothing is ever taken out or moved. `request` is the
id of the request that asked for it first, for people who look for it: nothing is decided by it.
"""

from typing import Literal

from msgspec import Struct

from redpacket.split import SplitParameters


class PacketTerms(Struct, frozen=True, array_like=True, tag="packet"):
    """What the sender of a packet asked for. `owner` pays."""

    owner: str
    currency: str
    split: SplitParameters
    greeting: str
    expires_in_s: int


class TopUpTerms(Struct, frozen=True, array_like=True, tag="topup"):
    """What an operator asked for: `amount_minor` from the funding account to `owner`."""

    operator: str
    owner: str
    currency: str
    amount_minor: int


Terms = PacketTerms | TopUpTerms


class PacketOpened(Struct, frozen=True, array_like=True, tag="PacketOpened"):
    """`commitment` binds the split before anyone has claimed (see docs/split.md)."""

    id: str
    terms: PacketTerms
    commitment: str
    request: str = ""


class ShareClaimed(Struct, frozen=True, array_like=True, tag="ShareClaimed"):
    """`sequence` counts the claims of one packet in the order in which they were reserved, from 1."""

    packet: str
    owner: str
    share: int
    amount_minor: int
    sequence: int
    request: str = ""


class PacketClosed(Struct, frozen=True, array_like=True, tag="PacketClosed"):
    """What nobody has claimed goes back to the sender: `refunded_minor`, the total less all claims, 1 or more.

    `state` is what the packet is from then on: closed by its owner, or expired.
    """

    packet: str
    state: Literal["closed", "expired"]
    refunded_minor: int
    request: str = ""


class WalletToppedUp(Struct, frozen=True, array_like=True, tag="WalletToppedUp"):
    id: str
    terms: TopUpTerms
    request: str = ""


Event = PacketOpened | ShareClaimed | PacketClosed | WalletToppedUp
