"""Evict: what the ledger shows equal leaves memory, and what an older epoch left."""

from collections.abc import Sequence

from msgspec import Struct, msgpack

from redpacket.operations import KnownOperation
from redpacket.shard.client import ShardClient
from redpacket.shard.load import packet_tail

# Claims in one call: some hundred microseconds of Redis.
_COMPARED_AT_ONCE = 250

_encode = msgpack.Encoder().encode


class Swept(Struct, frozen=True, array_like=True):
    """`unlinked`: how many keys of older epochs are gone; `cold`: names of operations and wallets that nobody uses."""

    unlinked: int
    cold: tuple[str, ...]


_decode_swept = msgpack.Decoder(Swept).decode


async def sweep(client: ShardClient, shard: int, idle_s: int, names: Sequence[str]) -> Swept:
    """Looks through these keys of the shard; cold is what nobody has used for `idle_s`."""
    return _decode_swept(await client.call("sweep", shard, idle_s, _encode(names)))


async def evict_operation(
    client: ShardClient, shard: int, next_offset: int, identity: str, known: KnownOperation
) -> bool:
    """Whether it was evicted: not where Redis knows anything that the snapshot at `next_offset` does not."""
    packet: tuple[object, ...] = ()
    if tail := packet_tail(known):
        for start in range(0, len(known.claims), _COMPARED_AT_ONCE):
            fields: list[str] = []
            for claim in known.claims[start : start + _COMPARED_AT_ONCE]:
                fields += [claim.owner, f"{claim.share} {claim.sequence} {claim.at_ms}"]
            if not await client.call("compare_claims", shard, identity, _encode(fields)):
                return False
        packet = (tail.split, tail.taken, tail.sequence, tail.state, tail.over_at_ms)
    packed = _encode((known.id, known.at_ms, known.terms, packet))
    return bool(await client.call("evict_operation", shard, next_offset, identity, packed) == b"evicted")


async def evict_wallet(
    client: ShardClient, shard: int, next_offset: int, owner: str, credited_minor: int, reserved_minor: int
) -> bool:
    """As evict_operation; the amounts as in load_wallet."""
    answer = await client.call("evict_wallet", shard, next_offset, owner, credited_minor, reserved_minor)
    return bool(answer == b"evicted")
