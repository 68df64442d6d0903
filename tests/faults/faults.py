"""The faults, by name: each does its damage and returns when the damage is over, from when recovery is counted.

These are samples of the rows of the fault matrix that a stack on one machine has. Not here: links cut one by one (a
server that stands still is all of its links at once), clocks apart, full disks, and overload.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.probe import Probe
from tests.faults.processes import down, kill, roll, still
from tests.faults.replaced import (
    flush_redis,
    log_everything_again,
    promote_an_older_copy,
    replace_redis_by_an_older_one,
)
from tests.system import System

# More than once what is back within seconds: each time it is killed in the middle of something else.
KILLED = (*("api-0", "api-1", "ledger-0", "ledger-1", "redis") * 3, "kafka", "postgres")
AWAY_S = 15.0
REDIS_AWAY_S = 10.0
# Longer than the session of a ledger worker (6 s), after which another one has its shards.
PAST_SESSION_S = 8.0


@dataclass(frozen=True)
class Scene:
    system: System
    probe: Probe
    # For what a fault keeps on disk.
    folder: Path


@dataclass(frozen=True)
class Fault:
    """`harmless`: no client may notice anything. `settles`: the ledger goes on meanwhile."""

    name: str
    inflict: Callable[[Scene], Awaitable[None]]
    harmless: bool = False
    settles: bool = True


def faults_in_order(seed: int) -> list[Fault]:
    """All of them, shuffled by the seed."""
    chance = random.Random(seed)
    faults = [
        *(Fault(f"{name} killed", partial(_killed, name)) for name in KILLED),
        Fault("redis flushed", lambda scene: flush_redis(scene.system)),
        Fault("redis with older data", lambda scene: replace_redis_by_an_older_one(scene.system)),
        Fault("redis demoted, then promoted", lambda scene: promote_an_older_copy(scene.system, scene.folder / "copy")),
        Fault("redis still for 10 s", partial(_still, "redis", REDIS_AWAY_S)),
        *(Fault(f"{name} still for 15 s", partial(_still, name, AWAY_S)) for name in ("kafka", "postgres")),
        *(Fault(f"{name} down for 15 s", partial(_down, name)) for name in ("kafka", "postgres")),
        Fault("an API worker still across a fence", partial(_api_across_a_fence, chance.choice(("api-0", "api-1")))),
        Fault(
            "a ledger worker still across a fence",
            partial(_ledger_across_a_fence, chance.choice(("ledger-0", "ledger-1"))),
        ),
        Fault("every record logged twice", lambda scene: log_everything_again(scene.system)),
        *(_roll(kind) for kind in ("api", "ledger") * 2),
    ]
    chance.shuffle(faults)
    return faults


def _roll(kind: str) -> Fault:
    return Fault(f"{kind} workers rolled", partial(_rolled, kind), harmless=True, settles=kind != "ledger")


async def _killed(name: str, scene: Scene) -> None:
    kill(scene.system, name)


async def _still(name: str, for_s: float, scene: Scene) -> None:
    with still(scene.system, name):
        await asyncio.sleep(for_s)


async def _down(name: str, scene: Scene) -> None:
    async with down(scene.system, name):
        await asyncio.sleep(AWAY_S)


async def _api_across_a_fence(name: str, scene: Scene) -> None:
    """Its requests were reserved before the fence, or wait in its sockets; it goes on when all shards are open."""
    with still(scene.system, name):
        await asyncio.sleep(0.5)
        await flush_redis(scene.system)
        await scene.probe.wait_back()


async def _ledger_across_a_fence(name: str, scene: Scene) -> None:
    """Another has opened its shards when it goes on, and both believe that they own them."""
    with still(scene.system, name):
        await asyncio.sleep(1.0)
        await flush_redis(scene.system)
        await asyncio.sleep(PAST_SESSION_S)


async def _rolled(kind: str, scene: Scene) -> None:
    await roll(scene.system, kind)
