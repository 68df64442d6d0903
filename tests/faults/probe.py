"""The probe: somebody with a packet on every shard, who says when service is back; and when all is at rest."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import httpx

from loadtest.record.phones import Phones
from loadtest.record.words import Answer, Asked
from redpacket.ids import shard_of
from redpacket.log.producer import LogUnavailableError
from redpacket.log.topic import LogEnds
from tests.faults.plan import OPERATORS
from tests.system import System

# The only times that are judged here, and generously: rehearsals judge the others.
BACK_MAX_S = 60.0
CALM_MAX_S = 120.0
_AGAIN_S = 0.1
_CALM_S = 2.0
_FUNDS_MINOR, _TOTAL_MINOR, _SHARES = 1_000_000, 100, 2


class Probe:
    def __init__(self, system: System, phones: Phones) -> None:
        self._system = system
        self._phones = phones
        self._rounds = count()
        self._owners = [_owner_on(shard, system.settings.shards) for shard in range(system.settings.shards)]

    async def start(self) -> None:
        """Money for everyone; the first answer on every shard."""
        for n, owner in enumerate(self._owners):
            body = {"owner": owner, "amount": _FUNDS_MINOR}
            operator = OPERATORS[n % len(OPERATORS)]
            await self._done(Asked(kind="topup", owner=operator, key=f"topup-{owner}", body=body))

    async def wait_back(self) -> float:
        """Seconds until a send, a claim and a close have been answered with a final yes on every shard."""
        began_s = time.monotonic()
        number = next(self._rounds)
        await asyncio.gather(*(self._walk(owner, f"probe-{number}") for owner in self._owners))
        return time.monotonic() - began_s

    async def _walk(self, owner: str, key: str) -> None:
        body = {"kind": "equal", "total": _TOTAL_MINOR, "shares": _SHARES}
        sent = await self._done(Asked(kind="send", owner=owner, key=key, body=body))
        packet = sent.body["id"]
        await self._done(Asked(kind="claim", owner=f"{owner}-friend", packet=packet))
        await self._done(Asked(kind="close", owner=owner, packet=packet))

    async def _done(self, asked: Asked) -> Answer:
        answer = await self._phones.until_final(asked, patience_s=BACK_MAX_S, again_s=_AGAIN_S)
        assert answer.outcome == "ok", f"service is not back after {BACK_MAX_S:.0f} s: {asked} was answered {answer}"
        return answer


async def wait_settled(system: System) -> float:
    """Seconds until the ledger has all that the log had when this was called. Kafka may be away for a while."""
    began_s = time.monotonic()
    async with asyncio.timeout(BACK_MAX_S):
        ends = await log_ends(system)
        while True:
            rows = await system.rows("SELECT next_offset FROM shard ORDER BY shard")
            if all(row["next_offset"] >= end for row, end in zip(rows, ends, strict=True)):
                return time.monotonic() - began_s
            await asyncio.sleep(0.05)


async def wait_calm(system: System, phones: Phones) -> float:
    """Seconds until every process says that it is ready and no client has got an unknown outcome for a while."""
    began_s = time.monotonic()
    while not (_is_calm(phones) and await _ready(system)):
        waited_s = time.monotonic() - began_s
        assert waited_s < CALM_MAX_S, f"no calm after {waited_s:.0f} s: {phones.waiting} wait, {phones.last_unknown}"
        await asyncio.sleep(0.2)
    return time.monotonic() - began_s


def _is_calm(phones: Phones) -> bool:
    unknown_s = phones.last_unknown[0] if phones.last_unknown else 0.0
    return phones.waiting == 0 and time.monotonic() - unknown_s > _CALM_S


async def log_ends(system: System) -> list[int]:
    """By shard, the offset that its next record will get."""
    while True:
        try:
            async with _opened_ends(system) as ends:
                return await ends.read()
        except LogUnavailableError:
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _opened_ends(system: System) -> AsyncIterator[LogEnds]:
    (row,) = await system.rows("SELECT topic FROM deployment")
    ends = LogEnds(system.settings, row["topic"])
    await ends.start()
    try:
        yield ends
    finally:
        await ends.stop()


async def _ready(system: System) -> bool:
    if any(child.state != "ready" for child in system.state.children):
        return False
    ports = [child.port for child in system.state.children if child.name.startswith(("api-", "ledger-"))]
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
        try:
            answers = [await http.get(f"http://127.0.0.1:{port}/healthz/ready") for port in ports]
        except httpx.HTTPError:
            return False
    return all(answer.is_success for answer in answers)


def _owner_on(shard: int, shards: int) -> str:
    """Somebody whose wallet is on this shard."""
    return next(name for n in count() if shard_of(name := f"probe-{n}", shards) == shard)
