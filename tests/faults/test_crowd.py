"""Three packets, 200 people, each claiming twice at once; and the same while processes are killed."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from redpacket.settings import settings_environ
from redpacket.stack.ports import free_ports
from tests.audited import assert_holds, audited
from tests.faults.crowd import PATIENCE_S, Told, check, send_packet, storm
from tests.system import COMMAND, System

PACKETS, PEOPLE, SHARES, TOTAL = 3, 200, 100, 50_000


async def _packets(system: System, name: str) -> list[str]:
    return [await send_packet(system, f"{name}-{n}", TOTAL, SHARES) for n in range(PACKETS)]


async def test_everyone_gets_one_share_and_both_repeats_the_same_amount(system: System) -> None:
    told = Told()
    packets = await _packets(system, "calm")
    await storm(system, packets, PEOPLE, told)
    await check(system, packets, PEOPLE, SHARES, TOTAL, told)


@asynccontextmanager
async def _api_worker(system: System) -> AsyncIterator[str]:
    """An API worker beside the others, on a port of its own."""
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "api", "--port", str(port)),
        env={**os.environ, **settings_environ(system.settings)},
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def test_repeats_at_different_workers_get_the_same_amount(system: System) -> None:
    told = Told()
    packets = await _packets(system, "apart")
    async with _api_worker(system) as first, _api_worker(system) as second:
        await storm(system, packets, PEOPLE, told, urls=(first, second))
    await check(system, packets, PEOPLE, SHARES, TOTAL, told)


@pytest.mark.parametrize("victim", ["redis", "api-0", "ledger-0", "postgres", "kafka"])
async def test_what_was_acknowledged_stands_when_a_process_is_killed(system: System, victim: str) -> None:
    seed = int(os.environ.get("FAULT_SEED", time.time_ns() % 1_000_000))
    print(f"FAULT_SEED={seed} victim={victim}")
    told = Told()
    packets = await _packets(system, f"{victim}-{seed}")
    crowd = asyncio.create_task(storm(system, packets, PEOPLE, told, arrive_within_s=2.0, seed=seed))
    await asyncio.sleep(random.Random(seed).uniform(0.3, 1.5))
    killed_at = time.monotonic()
    os.kill(system.pid_of(victim), signal.SIGKILL)
    await crowd
    await check(system, packets, PEOPLE, SHARES, TOTAL, told)
    await _back(system, victim)
    print(f"{victim} killed; all answered and settled after {time.monotonic() - killed_at:.1f} s; {told.statuses}")
    if victim == "redis":
        assert told.statuses[503], "a lost Redis closes its shards, and that is said"
    assert_holds(await audited(system.settings, "start"))


async def test_a_ledger_worker_that_stands_still_is_replaced_and_does_no_harm_when_it_goes_on(system: System) -> None:
    told, packets = Told(), await _packets(system, "still")
    stopped = system.pid_of("ledger-0")
    os.kill(stopped, signal.SIGSTOP)
    try:
        await storm(system, packets, PEOPLE, told)
        # All is settled while it stands: the other worker has taken its shards.
        await check(system, packets, PEOPLE, SHARES, TOTAL, told)
    finally:
        os.kill(stopped, signal.SIGCONT)
    told, packets = Told(), await _packets(system, "goes-on")
    await storm(system, packets, PEOPLE, told)
    await check(system, packets, PEOPLE, SHARES, TOTAL, told)


async def _back(system: System, victim: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not any(child.name == victim and child.state == "ready" for child in system.state.children):
            await asyncio.sleep(0.1)
