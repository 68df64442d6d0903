"""An operation, and the claims of a packet, as Redis and the ledger hold them."""

from msgspec import Struct

from redpacket.events import Terms


class Claim(Struct, frozen=True, array_like=True):
    """One person's share of a packet. The amount follows from the share's number; `sequence` counts the packet's claims
    from 1, in the order in which they were reserved."""

    owner: str
    share: int
    sequence: int
    at_ms: int


class KnownOperation(Struct, frozen=True):
    """`state` is a packet's: 'open', 'sold_out', 'closed', 'expired'; '' of anything else. So are the claims, and the
    time at which it was closed or expired, 0 where it was not. `frozen`: something of it is set aside until a person
    has decided."""

    id: str
    at_ms: int
    terms: Terms
    state: str
    claims: tuple[Claim, ...]
    over_at_ms: int
    frozen: bool
