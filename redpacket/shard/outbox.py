"""The outbox: entries of what is reserved and not yet confirmed."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, msgpack

from redpacket.events import Terms
from redpacket.shard.client import ShardClient
from redpacket.split import SplitParameters


class ReservedClaim(Struct, frozen=True, array_like=True, tag="claim"):
    packet: str
    owner: str
    share: int
    sequence: int
    request: str = ""


class ReservedOperation(Struct, frozen=True, array_like=True, tag="operation"):
    id: str
    terms: Terms
    request: str = ""


class ReservedClose(Struct, frozen=True, array_like=True, tag="close"):
    """What is left: the share numbers above `handed_out`, and `holes`."""

    packet: str
    why: Literal["closed", "expired"]
    handed_out: int
    holes: tuple[int, ...]
    request: str = ""


class Entry(Struct, frozen=True, array_like=True):
    """What the outbox holds for a batch: all that its record needs. `packets` are (id, split) of those touched."""

    at_ms: int
    packets: tuple[tuple[str, SplitParameters], ...]
    items: tuple[ReservedClaim | ReservedClose | ReservedOperation, ...]


class Confirm(Struct, frozen=True, array_like=True):
    epoch: int
    entry: int


class TakenEntry(Struct, frozen=True):
    """`entry` is None where it is confirmed, or `by_another` has taken it."""

    epoch: int
    by_another: bool
    entry: Entry | None


class Survey(Struct, frozen=True, array_like=True):
    """`older`: the numbers of the entries that are older than was asked for, the oldest first."""

    entries: int
    oldest_age_ms: int
    older: tuple[int, ...]


_encode = msgpack.Encoder().encode
decode_entry = msgpack.Decoder(Entry).decode
_decode_confirmed = msgpack.Decoder(tuple[bool, ...], strict=False).decode
_decode_taken = msgpack.Decoder(tuple[int, bool], strict=False).decode
_decode_survey = msgpack.Decoder(Survey).decode


async def confirm(client: ShardClient, shard: int, confirms: Sequence[Confirm]) -> tuple[bool, ...]:
    """Deletes entries whose records are acknowledged. True for each under the present epoch, gone before or not."""
    answered = _decode_confirmed(await client.call("confirm", shard, _encode(confirms)))
    # A higher epoch may have become known while the call was under way.
    pairs = zip(confirms, answered, strict=True)
    return tuple(confirmed and client.believes(shard, entry.epoch) for entry, confirmed in pairs)


async def take_entry(client: ShardClient, shard: int, entry: int, lease_ms: int) -> TakenEntry:
    """The entry for one who will publish it again, and the epoch under which it is there, or is not."""
    head, packed = await client.call("take_entry", shard, entry, lease_ms)
    epoch, by_another = _decode_taken(head)
    client.believe(shard, epoch)
    return TakenEntry(epoch, by_another, decode_entry(packed) if packed else None)


async def survey_outbox(client: ShardClient, shard: int, older_than_ms: int, limit: int) -> Survey:
    """How much is unconfirmed; `limit` bounds the entries named."""
    return _decode_survey(await client.call("survey_outbox", shard, older_than_ms, limit))
