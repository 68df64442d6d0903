"""The fence of a shard: looked at, closed and blessed by the shard's owner."""

from msgspec import Struct, msgpack

from redpacket.shard.client import ShardClient


class FenceState(Struct, frozen=True, array_like=True):
    """`epoch` is 0 where there is no fence; `open` is true where this very Redis process is blessed and open, under an
    epoch that is believed."""

    epoch: int
    open: bool
    floor: int
    now_ms: int


_decode = msgpack.Decoder(FenceState, strict=False).decode


async def fence_state(client: ShardClient, shard: int) -> FenceState:
    state = _decode(await client.call("fence_state", shard))
    if state.open:
        client.believe(shard, state.epoch)
    return state


async def set_full(client: ShardClient, shard: int, full: bool) -> None:
    """Whether new packets are refused for want of memory."""
    await client.call("set_full", shard, int(full))


async def close_shard(client: ShardClient, shard: int, epoch: int, nonce: str) -> bool:
    """False where an epoch as high or higher has been here. `nonce` is the opening's own, '' where none follows."""
    return bool(await client.call("close", shard, epoch, nonce))


async def bless_shard(client: ShardClient, shard: int, epoch: int, nonce: str, floor: int) -> bool:
    """Opens the shard; false where the fence is not the one of this opening, never opened, on this Redis process."""
    return bool(await client.call("bless", shard, epoch, nonce, floor))
