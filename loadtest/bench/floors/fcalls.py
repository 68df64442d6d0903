"""The floor of Redis: claims reserved in batches of the size seen, one call after the other, each with the confirm of
the one before; nothing else is done, so nothing of them reaches the log."""

import time
from collections.abc import Sequence
from contextlib import aclosing

from loadtest.bench.cases import Sender
from loadtest.bench.cpu import cpu_of_parts, spent_since
from loadtest.bench.people import Person
from loadtest.bench.stack import Stack
from redpacket.ids import OperationId, parse_id
from redpacket.shard.client import ShardClient
from redpacket.shard.outbox import Confirm, confirm
from redpacket.shard.reserve import ClaimItem, OutboxLimits, Reserved, reserve

_CLAIMS = 8_000


async def measure_fcalls(stack: Stack, sender: Sender, senders: Sequence[Person], batch_items: int) -> dict[str, float]:
    """Seconds of CPU a claim: of the caller and of Redis. One packet of each sender is claimed from."""
    shares = _CLAIMS // len(senders)
    packets = [parse_id(id) for id in await sender.send_all(senders, shares)]
    redis = {"redis": stack.pids()["redis"]}
    client = ShardClient(stack.settings)
    async with aclosing(client):
        before, before_s = cpu_of_parts(redis), time.process_time()
        claimed = 0
        for packet in packets:
            assert packet is not None
            claimed += await _claim_all(client, packet, shares, batch_items)
        api_s, spent = time.process_time() - before_s, spent_since(before, cpu_of_parts(redis))
    return {"api": api_s / claimed, "redis": spent["redis"] / claimed}


async def _claim_all(client: ShardClient, packet: OperationId, shares: int, batch_items: int) -> int:
    limits, confirms, claimed = OutboxLimits(256, 3_000), list[Confirm](), 0
    for first in range(0, shares, batch_items):
        owners = [f"bench-bare-{number}" for number in range(first, min(first + batch_items, shares))]
        items = [ClaimItem(packet.identity, str(packet), 0, owner) for owner in owners]
        reply, _ = await reserve(client, packet.shard, limits, confirms, items)
        confirms = [Confirm(reply.epoch, reply.entry)]
        claimed += sum(isinstance(result, Reserved) for result in reply.results)
    await confirm(client, packet.shard, confirms)
    return claimed
