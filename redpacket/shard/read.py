"""Read: what Redis knows of an operation, or of a packet and its claims, confirmed items only."""

from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from msgspec import Struct, msgpack

from redpacket.events import PacketTerms, Terms
from redpacket.operations import Claim
from redpacket.shard.client import ShardClient
from redpacket.shard.outbox import Entry, decode_entry

T = TypeVar("T")


class Absent(Enum):
    """Why there is nothing to read: it must be loaded first, or the id is not one of a packet."""

    MISSING = b"MISSING"
    OTHER = b"OTHER"


class HeldOperation(Struct, frozen=True, array_like=True):
    """`entry` is not 0 while the operation is unconfirmed."""

    id: str
    entry: int
    terms: Terms


class PacketHead(Struct, frozen=True, array_like=True):
    """`send_entry` is not 0 while the packet's own send is unconfirmed; share numbers 1..handed_out less `holes` are
    taken, by confirmed claims or by those in the entries that came with it. `state`: '', 'closing', and once the refund
    is confirmed 'closed' or 'expired'."""

    now_ms: int
    at_ms: int
    terms: PacketTerms
    send_entry: int
    expires_at_ms: int
    handed_out: int
    taken: int
    state: str
    holes: tuple[int, ...]


class HeldPacket(Struct, frozen=True):
    head: PacketHead
    unconfirmed: tuple[Entry, ...]


class ClaimPage(Struct, frozen=True, array_like=True):
    """`last` is the sequence to go on after, 0 at the end."""

    claims: tuple[Claim, ...]
    last: int


class ClaimAnswer(Struct, frozen=True, array_like=True):
    """`entry` is not 0 while the claim is unconfirmed; no claim at all is ()."""

    entry: int
    claims: tuple[Claim, ...]


_decode_operation = msgpack.Decoder(HeldOperation).decode
_ABSENT = {absent.value for absent in Absent}
_decode_head = msgpack.Decoder(PacketHead).decode
_decode_page = msgpack.Decoder(ClaimPage).decode
_decode_claim = msgpack.Decoder(ClaimAnswer).decode
_decode_names = msgpack.Decoder(tuple[str, ...]).decode


async def read_operation(client: ShardClient, shard: int, identity: str) -> HeldOperation | Absent:
    answer = await client.call("read_operation", shard, identity)
    return _decoded(answer, _decode_operation)


async def read_packet(client: ShardClient, shard: int, identity: str, id: str) -> HeldPacket | Absent:
    answer = await client.call("read_packet", shard, identity, id)
    if isinstance(answer, bytes):
        return Absent(answer)
    head, *entries = answer
    return HeldPacket(_decode_head(head), tuple(decode_entry(entry) for entry in entries))


async def read_claims(
    client: ShardClient, shard: int, identity: str, id: str, after: int, limit: int
) -> ClaimPage | Absent:
    """Claims with a sequence above `after`, in its order, at most `limit`."""
    answer = await client.call("read_claims", shard, identity, id, after, limit)
    return _decoded(answer, _decode_page)


async def read_winners(client: ShardClient, shard: int, identity: str, id: str) -> tuple[str, ...] | Absent:
    """Everyone who has a share of a packet whose shares are all in confirmed claims; () where they are not."""
    answer = await client.call("read_winners", shard, identity, id)
    return _decoded(answer, _decode_names)


async def read_closing(client: ShardClient, shard: int, limit: int) -> tuple[str, ...]:
    """Ids of packets that are being closed, at most `limit`."""
    return _decode_names(await client.call("read_closing", shard, limit))


async def read_claim(client: ShardClient, shard: int, identity: str, id: str, owner: str) -> ClaimAnswer | Absent:
    answer = await client.call("read_claim", shard, identity, id, owner)
    return _decoded(answer, _decode_claim)


def _decoded(answer: bytes, decode: Callable[[bytes], T]) -> T | Absent:
    return Absent(answer) if answer in _ABSENT else decode(answer)
