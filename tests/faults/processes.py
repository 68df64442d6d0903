"""What is done to the processes of a running system."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.system import COMMAND, System

ROLL_MAX_S = 120.0


def kill(system: System, name: str) -> None:
    """SIGKILL; the supervisor starts it again at once."""
    os.kill(system.pid_of(name), signal.SIGKILL)


@contextmanager
def still(system: System, name: str) -> Iterator[None]:
    """SIGSTOP of the process and all that it has started, SIGCONT at the end: connections stay, and nobody answers."""
    pids = _family(system.pid_of(name))
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


@asynccontextmanager
async def down(system: System, name: str) -> AsyncIterator[None]:
    """Killed and not started again: the supervisor stands still meanwhile. Connections are refused.

    Whatever else dies in that time stays dead as long.
    """
    supervisor = system.process.pid
    _signal(supervisor, signal.SIGSTOP)
    try:
        kill(system, name)
        yield
    finally:
        _signal(supervisor, signal.SIGCONT)


async def roll(system: System, kind: str) -> None:
    """`redpacket roll`: one worker of this kind after the other is replaced, each by another process."""
    before = _pids(system, kind)
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "roll", kind, "--data", str(system.data)), stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(ROLL_MAX_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
    assert before.isdisjoint(_pids(system, kind)), f"of {kind} some were not replaced:\n{output.decode()}"


def _pids(system: System, kind: str) -> set[int | None]:
    return {child.pid for child in system.state.children if child.name.startswith(f"{kind}-")}


def _family(pid: int) -> list[int]:
    """The process and its descendants, parents first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has just ended
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    family = [pid]
    for member in family:
        family += parents.get(member, [])
    return family


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has just ended
        return
