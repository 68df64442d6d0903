"""Load: what a snapshot of the ledger says of a wallet or an operation, installed where the key is absent."""

import secrets
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct, msgpack

from redpacket.events import PacketTerms
from redpacket.operations import Claim, KnownOperation
from redpacket.shard.client import ShardClient
from redpacket.split import SplitParameters

# A call that writes more values than this at once would hold Redis for too long, and `unpack` in Lua has a limit.
_STAGED_AT_ONCE = 250

_encode = msgpack.Encoder().encode


class Installed(StrEnum):
    LOADED = "loaded"
    THERE = "there"  # another load or a reservation was first: what is there knows more
    BEHIND = "behind"  # the snapshot is below the floor: the ledger has to catch up first


async def load_wallet(
    client: ShardClient,
    shard: int,
    next_offset: int,
    owner: str,
    credited_minor: int,
    reserved_minor: int,
    frozen: bool = False,
) -> Installed:
    """`credited_minor` and `reserved_minor`: all that ever came in and went out, by the snapshot at `next_offset`."""
    moved = (credited_minor, reserved_minor)
    return _installed(await client.call("load_wallet", shard, next_offset, owner, *moved, _flag(frozen)))


async def load_operation(
    client: ShardClient, shard: int, next_offset: int, identity: str, known: KnownOperation
) -> Installed:
    """Installs an operation and, for a packet, its claims and its free shares: all shares minus those taken."""
    nonce = secrets.token_hex(8)
    packet: tuple[object, ...] = ()
    if tail := packet_tail(known):
        taken = {claim.share for claim in known.claims}
        handed_out = max(taken, default=0)
        holes = [share for share in range(1, handed_out + 1) if share not in taken]
        await _stage(client, shard, nonce, known.claims, holes)
        packet = (
            *(tail.split, tail.split.shares, tail.expires_at_ms, handed_out, len(holes)),
            *(tail.taken, tail.sequence, tail.state, tail.over_at_ms),
        )
    packed = _encode((known.id, known.at_ms, known.terms, packet, _flag(known.frozen)))
    return _installed(await client.call("load_operation", shard, next_offset, identity, nonce, packed))


class PacketTail(Struct, frozen=True):
    """What Redis holds of a packet beside its terms and its claims. `sequence`: of the last claim; `state`: what ends
    claims by itself, 'closed' or 'expired', else '': sold out follows from what is taken."""

    split: SplitParameters
    expires_at_ms: int
    taken: int
    sequence: int
    state: str
    over_at_ms: int


def packet_tail(known: KnownOperation) -> PacketTail | None:
    """None where the operation is no packet."""
    terms = known.terms
    if not isinstance(terms, PacketTerms):
        return None
    return PacketTail(
        terms.split,
        known.at_ms + terms.expires_in_s * 1000,
        len(known.claims),
        max((claim.sequence for claim in known.claims), default=0),
        known.state if known.state in ("closed", "expired") else "",
        known.over_at_ms,
    )


async def _stage(client: ShardClient, shard: int, nonce: str, claims: Sequence[Claim], holes: Sequence[int]) -> None:
    for start in range(0, max(len(claims), len(holes)), _STAGED_AT_ONCE):
        fields: list[str] = []
        for claim in claims[start : start + _STAGED_AT_ONCE]:
            fields += [
                claim.owner,
                f"{claim.share} {claim.sequence} {claim.at_ms} 0",
                f"#{claim.sequence}",
                claim.owner,
            ]
        await client.call("stage", shard, nonce, _encode(fields), _encode(holes[start : start + _STAGED_AT_ONCE]))


def _flag(value: bool) -> str:
    return "1" if value else ""


def _installed(answer: bytes) -> Installed:
    return Installed(answer.decode())
