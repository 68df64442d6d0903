"""The floor of Redis: items reserved in batches of the size seen, one call after the other, each with the confirm of
the one before; nothing else is done, so nothing of them reaches the log."""

import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing

from loadtest.bench.cases import SENT, Sender
from loadtest.bench.people import Person
from loadtest.cpu import cpu_of_parts, spent_since
from loadtest.stack import Stack
from redpacket.events import PacketTerms
from redpacket.ids import parse_id, shard_of
from redpacket.shard.client import ShardClient
from redpacket.shard.fence import fence_state
from redpacket.shard.outbox import Confirm, confirm
from redpacket.shard.reserve import ClaimItem, Item, OperationItem, OutboxLimits, Reserved, packet_part, reserve
from redpacket.split import SplitParameters

_CLAIMS, _SENDS = 8_000, 2_000
_LIMITS = OutboxLimits(256, 3_000)
_Items = tuple[int, Sequence[Item]]


async def measure_claim_calls(
    stack: Stack, sender: Sender, senders: Sequence[Person], batch_items: int
) -> dict[str, float]:
    """Seconds of CPU a claim: of the caller and of Redis. One packet of each sender is claimed from."""
    shares = _CLAIMS // len(senders)
    batches: list[_Items] = []
    for id in await sender.send_all(senders, shares):
        packet = parse_id(id)
        assert packet is not None
        items = [ClaimItem(packet.identity, id, 0, f"bench-bare-{number}") for number in range(shares)]
        batches.append((packet.shard, items))
    return await _measure(stack, batches, batch_items)


async def measure_send_calls(stack: Stack, senders: Sequence[Person], batch_items: int) -> dict[str, float]:
    """Seconds of CPU a send: of the caller and of Redis. The senders' wallets are in Redis."""
    batches: list[_Items] = []
    client = ShardClient(stack.settings)
    async with aclosing(client):
        for sender in senders:
            shard = shard_of(sender.owner, stack.settings.shards)
            floor = (await fence_state(client, shard)).floor
            batches.append((shard, [_send(shard, floor, sender.owner) for _ in range(_SENDS // len(senders))]))
    return await _measure(stack, batches, batch_items)


def _send(shard: int, floor: int, owner: str) -> OperationItem:
    split = SplitParameters("lucky", SENT["total"], SENT["shares"], SENT["total"], 1)
    terms = PacketTerms(owner, "CNY", split, "", 86_400)
    identity = secrets.token_hex(16)
    return OperationItem(identity, shard, 0, floor, owner, split.total_minor, 0, terms, packet_part(terms))


async def _measure(stack: Stack, batches: Sequence[_Items], batch_items: int) -> dict[str, float]:
    redis = {"redis": stack.pids()["redis"]}
    client = ShardClient(stack.settings)
    async with aclosing(client):
        before, before_s = cpu_of_parts(redis), time.process_time()
        reserved = sum([await _reserve_all(client, shard, items, batch_items) for shard, items in batches])
        api_s, spent = time.process_time() - before_s, spent_since(before, cpu_of_parts(redis))
    return {"api": api_s / reserved, "redis": spent["redis"] / reserved}


async def _reserve_all(client: ShardClient, shard: int, items: Sequence[Item], batch_items: int) -> int:
    confirms, reserved = list[Confirm](), 0
    for first in range(0, len(items), batch_items):
        reply, _ = await reserve(client, shard, _LIMITS, confirms, items[first : first + batch_items])
        confirms = [Confirm(reply.epoch, reply.entry)]
        reserved += sum(isinstance(result, Reserved) for result in reply.results)
    await confirm(client, shard, confirms)
    return reserved
