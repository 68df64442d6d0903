"""Reserve: the items of a batch, and what became of each."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, msgpack
from msgspec.structs import astuple

from redpacket.events import PacketTerms, Terms
from redpacket.shard.client import ShardClient
from redpacket.shard.outbox import Confirm, Entry, decode_entry
from redpacket.split import SplitParameters


class ClaimItem(Struct, frozen=True, array_like=True, tag="claim"):
    """`request`, of every item: the id of the request that asks for it, '' for none."""

    identity: str
    packet: str
    deadline_ms: int
    owner: str
    request: str = ""


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
    request: str = ""


class CloseItem(Struct, frozen=True, array_like=True, tag="close"):
    """`why`: 'closed' where its owner asks for it, 'expired' where its time is over."""

    identity: str
    packet: str
    deadline_ms: int
    why: Literal["closed", "expired"]
    request: str = ""


Item = ClaimItem | CloseItem | OperationItem


class Reserved(Struct, frozen=True, array_like=True, tag="reserved"):
    """In this batch's own entry, so not yet confirmed. `repeated`: an item before it in the batch made it, with
    `terms` where it is an operation; `id` is the operation's, `state` what a close has made of the packet."""

    repeated: bool
    share: int
    id: str
    state: Literal["", "closed", "expired"]
    terms: Terms | Literal[False]


class ClaimFound(Struct, frozen=True, array_like=True, tag="claim"):
    share: int
    at_ms: int
    split: SplitParameters


class OperationFound(Struct, frozen=True, array_like=True, tag="operation"):
    id: str
    at_ms: int
    terms: Terms


class PacketOver(Struct, frozen=True, array_like=True, tag="over"):
    """Nothing of the packet is left to claim, and all of that is confirmed. `at_ms` is 0 where it is sold out."""

    state: Literal["sold_out", "closed", "expired"]
    at_ms: int


class Pending(Struct, frozen=True, array_like=True, tag="pending"):
    """Recorded in `entry`, which is still in the outbox since `at_ms`. `id` is an operation's; '' of a claim."""

    entry: int
    at_ms: int
    id: str = ""


class Missing(Struct, frozen=True, array_like=True, tag="missing"):
    """What must be loaded, or proved absent, first."""

    operation: bool
    wallet: bool


class Short(Struct, frozen=True, array_like=True, tag="short"):
    """The payer's wallet, by what Redis knows to have come in. `reserved_minor`: all that ever went out of it, and
    every part of that is confirmed."""

    reserved_minor: int


class Stalled(Struct, frozen=True, array_like=True, tag="stalled"):
    """Nothing new is reserved before `entry`, which is old, is published: the log takes nothing, or nobody tries."""

    entry: int


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """`overloaded`: too much is unconfirmed, or memory is short; `stalled`: see Stalled; `crowded`: its turn is in the
    next batch; `busy`: it depends on what is unconfirmed, or is about to end; `limit`: more has come in to the wallet
    than can be counted; `short`: the payer was, at some moment of the request (see Short); `frozen`: it waits for a
    person to decide about a dead letter."""

    why: Literal[
        "not_found",
        "late",
        "overloaded",
        "stalled",
        "crowded",
        "busy",
        "sold_out",
        "expired",
        "closed",
        "not_due",
        "short",
        "limit",
        "frozen",
    ]


Result = Reserved | ClaimFound | OperationFound | PacketOver | Pending | Missing | Short | Stalled | Refused


class OutboxLimits(Struct, frozen=True):
    """Nothing new is reserved while the outbox has `entries_max`, or one that is older than `age_max_ms`."""

    entries_max: int
    age_max_ms: int


class Reply(Struct, frozen=True, array_like=True):
    """`confirmed` answers the confirms given, in their order; `entry` is 0 where nothing was reserved."""

    epoch: int
    now_ms: int
    confirmed: tuple[bool, ...]
    entry: int
    results: tuple[Result, ...]


_encode = msgpack.Encoder().encode
_decode_reply = msgpack.Decoder(Reply, strict=False).decode


async def reserve(
    client: ShardClient, shard: int, limits: OutboxLimits, confirms: Sequence[Confirm], items: Sequence[Item]
) -> tuple[Reply, Entry | None]:
    """One call: first `confirms`, then every item decided in order, then all written with one entry."""
    answer = await client.call("reserve", shard, _encode((*astuple(limits), confirms, items)))
    reply = _decode_reply(answer[0])
    client.believe(shard, reply.epoch)
    client.clock.learn(reply.now_ms)
    return reply, decode_entry(answer[1]) if answer[1] else None


def packet_part(terms: PacketTerms) -> PacketPart:
    return PacketPart(terms.split, terms.split.shares, terms.expires_in_s * 1000)
