"""Eviction at work: how much was evicted, and old idempotency keys of packets that Redis no longer holds."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable

import httpx
import redis.asyncio

from loadtest.record.words import Asked, Request
from redpacket.ids import parse_id
from tests.system import System

# Less than an empty Redis needs: whatever is cold is evicted, all the time.
ENVIRON = {"REDPACKET_MEMORY_EVICT_MIB": "1"}
KINDS = ("packet", "operation", "wallet")

_EVICTIONS = re.compile(r'^redpacket_evictions_total\{kind="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)
_LOOK_AGAIN_S = 0.5


class EvictionWatch:
    """Adds up what the ledger workers have counted, over the processes that came and went."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int | None, str], float] = {}

    async def look(self, system: System) -> None:
        """Now and then, since a count dies with its process."""
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            for child in system.state.children:
                if child.name.startswith("ledger-"):
                    try:
                        text = (await http.get(f"http://127.0.0.1:{child.port}/metrics")).text
                    except httpx.HTTPError:  # it is being replaced
                        continue
                    for kind, number in _EVICTIONS.findall(text):
                        self._seen[child.pid, kind] = float(number)

    @property
    def by_kind(self) -> Counter[str]:
        evicted: Counter[str] = Counter()
        for (_, kind), number in self._seen.items():
            evicted[kind] += int(number)
        return evicted


def closed_sends(requests: Iterable[Request]) -> dict[str, Asked]:
    """By id, the sends of packets that their owners were told are closed."""
    sends: dict[str, Asked] = {}
    closed: dict[str, Asked] = {}
    for request in requests:
        if request.answer.outcome == "ok" and request.asked.kind == "send":
            sends[request.answer.body["id"]] = request.asked
        if request.asked.kind == "close" and request.answer.body.get("state") == "closed":
            closed[request.asked.packet] = sends[request.asked.packet]
    return closed


async def wait_evicted(system: System, packets: Iterable[str], timeout_s: float) -> None:
    """Until Redis holds none of these packets. Raises TimeoutError."""
    async with redis.asyncio.Redis.from_url(system.settings.redis_url) as connection, asyncio.timeout(timeout_s):
        for packet in packets:
            id = parse_id(packet)
            assert id is not None
            while await _is_held(connection, id.shard, id.identity):
                await asyncio.sleep(_LOOK_AGAIN_S)


async def _is_held(connection: "redis.asyncio.Redis", shard: int, identity: str) -> bool:
    epoch = await connection.hget(f"{{rp{shard}}}fence", "epoch")
    return epoch is not None and bool(await connection.exists(f"{{rp{shard}}}{int(epoch)}:op:{identity}"))
