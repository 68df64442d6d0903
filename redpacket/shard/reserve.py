"""Reserve and confirm: the items of a batch, what became of each, and the outbox entry that holds them."""

from typing import Literal

from msgspec import Struct, msgpack

from redpacket.events import PacketTerms, Terms
from redpacket.shard.client import ShardClient
from redpacket.split import SplitParameters


class ClaimItem(Struct, frozen=True, array_like=True, tag="claim"):
    identity: str
    packet: str
    deadline_ms: int
    owner: str


class PacketPart(Struct, frozen=True, array_like=True):
    split: SplitParameters
    shares: int
    expires_in_ms: int


class OperationItem(Struct, frozen=True, array_like=True, tag="operation"):
    """`proof`: next_offset of the snapshot of the ledger that does not know the identity, -1 for none.

    `payer` is '' where no wallet pays (a top-up); `credited_minor`: what a reading of the ledger found come in to his
    wallet, 0 for none; `packet` is () unless the operation opens a packet.
    """

    identity: str
    shard: int
    deadline_ms: int
    proof: int
    payer: str
    amount_minor: int
    credited_minor: int
    terms: Terms
    packet: PacketPart | tuple[()]


Item = ClaimItem | OperationItem


class Reserved(Struct, frozen=True, array_like=True, tag="reserved"):
    """In this batch's own entry, so not yet confirmed. `repeated`: an item before it in the batch made it, with
    `terms` where it is an operation."""

    repeated: bool
    share: int
    id: str
    terms: Terms | Literal[False]


class ClaimFound(Struct, frozen=True, array_like=True, tag="claim"):
    share: int
    at_ms: int
    split: SplitParameters


class OperationFound(Struct, frozen=True, array_like=True, tag="operation"):
    id: str
    at_ms: int
    terms: Terms


class Pending(Struct, frozen=True, array_like=True, tag="pending"):
    """Recorded in `entry`, which is still in the outbox since `at_ms`. `id` is an operation's; '' of a claim."""

    entry: int
    at_ms: int
    id: str = ""


class Missing(Struct, frozen=True, array_like=True, tag="missing"):
    """What must be loaded, or proved absent, first."""

    operation: bool
    wallet: bool


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    why: Literal["not_found", "late", "overloaded", "busy", "sold_out", "expired", "closing", "closed", "short"]


Result = Reserved | ClaimFound | OperationFound | Pending | Missing | Refused


class ReservedClaim(Struct, frozen=True, array_like=True, tag="claim"):
    packet: str
    owner: str
    share: int
    sequence: int


class ReservedOperation(Struct, frozen=True, array_like=True, tag="operation"):
    id: str
    terms: Terms


class Entry(Struct, frozen=True, array_like=True):
    """What the outbox holds for a batch: all that its record needs. `packets` are (id, split) of those claimed from."""

    at_ms: int
    packets: tuple[tuple[str, SplitParameters], ...]
    items: tuple[ReservedClaim | ReservedOperation, ...]


class Reply(Struct, frozen=True, array_like=True):
    """`confirmed` answers the confirms given, in their order; `entry` is 0 where nothing was reserved."""

    epoch: int
    now_ms: int
    confirmed: tuple[bool, ...]
    entry: int
    results: tuple[Result, ...]


class Confirm(Struct, frozen=True, array_like=True):
    epoch: int
    entry: int


_encode = msgpack.Encoder().encode
_decode_reply = msgpack.Decoder(Reply, strict=False).decode
_decode_confirmed = msgpack.Decoder(tuple[bool, ...], strict=False).decode
_decode_read = msgpack.Decoder(tuple[int, int]).decode
decode_entry = msgpack.Decoder(Entry).decode


async def reserve(
    client: ShardClient, shard: int, outbox_max: int, confirms: list[Confirm], items: list[Item]
) -> tuple[Reply, Entry | None]:
    """One call: first `confirms`, then every item decided in order, then all written with one entry."""
    answer = await client.call("reserve", shard, _encode((outbox_max, confirms, items)))
    reply = _decode_reply(answer[0])
    client.clock.learn(reply.now_ms)
    return reply, decode_entry(answer[1]) if answer[1] else None


async def confirm(client: ShardClient, shard: int, confirms: list[Confirm]) -> tuple[bool, ...]:
    """Deletes entries whose records are acknowledged. True for each under the present epoch, gone before or not."""
    return _decode_confirmed(await client.call("confirm", shard, _encode(confirms)))


class HeldEntry(Struct, frozen=True):
    epoch: int
    now_ms: int
    entry: Entry | None


async def read_entry(client: ShardClient, shard: int, entry: int) -> HeldEntry:
    """The entry, None where it is confirmed, and the epoch under which that is so."""
    head, packed = await client.call("read_entry", shard, entry)
    epoch, now_ms = _decode_read(head)
    return HeldEntry(epoch, now_ms, decode_entry(packed) if packed else None)


def packet_part(terms: PacketTerms) -> PacketPart:
    return PacketPart(terms.split, terms.split.shares, terms.expires_in_s * 1000)
