"""A claim as Redis and the ledger hold it."""

from msgspec import Struct


class Claim(Struct, frozen=True, array_like=True):
    """One person's share of a packet. The amount follows from the share's number; `sequence` counts the packet's claims
    from 1, in the order in which they were reserved."""

    owner: str
    share: int
    sequence: int
    at_ms: int
