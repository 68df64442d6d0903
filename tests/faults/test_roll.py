"""Workers restarted one by one under load: not one request fails."""

import asyncio
import itertools
import random
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.deployment import LONG_S
from tests.faults.crowd import send_packet
from tests.system import COMMAND, System, running_system

# Minutes on a busy machine.
pytestmark = pytest.mark.faults

ROLL_S = 120.0
SHARES, TOTAL = 10_000, 100_000
# How long the clients of each group wait between two requests, in seconds: at least, at most.
PAUSES_S = {"busy": (0.01, 0.1), "idle": (0.8, 2.0), "slow": (2.0, 4.5)}
CLIENTS = 6
CALLS = [("POST", "/v1/packets/{}/claims"), ("GET", "/v1/packets/{}/claims/me"), ("GET", "/v1/packets/{}")]


@dataclass
class Load:
    """Clients with one connection each, which they keep while they may. Nothing is sent twice."""

    system: System
    packet: str
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    claimed: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, group: str, number: int) -> None:
        chance = random.Random(f"{group}-{number}")
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        async with httpx.AsyncClient(base_url=self.system.url, timeout=30.0, limits=limits, trust_env=False) as http:
            for asked in itertools.count():
                owner = f"{self.packet[-8:]}-{group}-{number}-{asked // 3}"
                headers = {"Authorization": f"Bearer {self.system.token(owner)}"}
                method, path = CALLS[asked % 3]
                request = http.build_request(method, path.format(self.packet), headers=headers)
                await self._ask(http, request, group, owner)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), chance.uniform(*PAUSES_S[group]))
                    return

    async def _ask(self, http: httpx.AsyncClient, request: httpx.Request, group: str, owner: str) -> None:
        try:
            answer = await http.send(request)
        except httpx.HTTPError as error:
            self.failures.append(f"{owner}: {request.method} {error!r}")
            return
        self.answers[group, answer.status_code] += 1
        if answer.status_code not in (200, 201, 202):
            self.failures.append(f"{owner}: {request.method} {answer.status_code} {answer.text}")
        elif answer.status_code == 201:
            self.claimed.add(owner)


@asynccontextmanager
async def load_on(system: System, name: str) -> AsyncIterator[Load]:
    load = Load(system, await send_packet(system, name, TOTAL, SHARES))
    async with asyncio.TaskGroup() as clients:
        for group in PAUSES_S:
            for number in range(CLIENTS):
                clients.create_task(load.run(group, number))
        try:
            yield load
        finally:
            load.stop.set()


async def start_roll(system: System, kind: str) -> Process:
    argv = (*COMMAND, "roll", kind, "--data", str(system.data))
    return await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=STDOUT)


async def roll(system: System, kind: str) -> list[str]:
    """The lines that it says."""
    process = await start_roll(system, kind)
    async with asyncio.timeout(ROLL_S):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode().splitlines()


def pids(system: System, kind: str) -> dict[str, int]:
    return {name: system.pid_of(name) for child in system.state.children if (name := child.name).startswith(kind)}


async def roll_twice(system: System, load: Load) -> None:
    for kind in ("api", "ledger", "api", "ledger"):
        before = pids(system, kind)
        asked = load.answers.copy()
        lines = await roll(system, kind)
        after = pids(system, kind)
        print(*lines, load.answers - asked, sep="\n")
        assert [line.split()[0] for line in lines] == list(before)
        assert before.keys() == after.keys()
        assert not set(before.values()) & set(after.values())
    assert {child.state for child in system.state.children} == {"ready"}


async def check(load: Load) -> None:
    """Nothing failed, everybody was served to the end, and every claim that was acknowledged is settled."""
    assert load.failures == []
    assert {group for group, _ in load.answers} == PAUSES_S.keys()
    async with asyncio.timeout(LONG_S):
        while True:
            rows = await load.system.rows("SELECT owner FROM claim WHERE packet = $1", load.packet)
            if {row["owner"] for row in rows} >= load.claimed:
                return
            await asyncio.sleep(0.1)


async def test_no_request_fails_while_workers_are_rolled(system: System) -> None:
    async with load_on(system, "rolled") as load:
        await roll_twice(system, load)
    await check(load)


async def test_a_roll_that_is_interrupted_leaves_everything_running(system: System) -> None:
    before = pids(system, "api")
    async with load_on(system, "interrupted") as load:
        process = await start_roll(system, "api")
        async with asyncio.timeout(ROLL_S):
            while all(child.state == "ready" for child in system.state.children):
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 2
            while not all(child.state == "ready" for child in system.state.children):
                await asyncio.sleep(0.02)
    after = pids(system, "api")
    assert (after["api-0"] != before["api-0"], after["api-1"]) == (True, before["api-1"])
    await check(load)


async def test_no_request_fails_where_the_only_worker_is_rolled(tmp_path: Path) -> None:
    async with running_system(tmp_path, "--api", "1", "--ledger", "1") as system:
        async with load_on(system, "alone") as load:
            await roll_twice(system, load)
        await check(load)
