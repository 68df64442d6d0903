"""A stack of the load's own: `redpacket up` on a folder of its own and free ports, and what is read of a stack."""

import asyncio
import re
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from urllib.parse import urlsplit

import httpx

from redpacket.settings import Settings, read_settings
from redpacket.stack.error import StackError
from redpacket.stack.program import guarded, python
from redpacket.stack.server import plain_environ
from redpacket.stack.state import ChildState, StackState, read_stack, ready_stack

_START_S, _STOP_S, _CALL_S = 120.0, 60.0, 10.0

PARTS = ("api", "redis", "kafka", "ledger", "postgres")


@dataclass(frozen=True)
class Stack:
    data: Path
    settings: Settings

    @property
    def state(self) -> StackState:
        """As it is now: who has died and was started again has another pid. Raises StackError when it has ended."""
        return read_stack(self.data)

    @property
    def url(self) -> str:
        return self.state.url

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def pids(self) -> dict[str, list[int]]:
        """By part, the processes of its workers or its server; their children are theirs."""
        return {part: [child.pid for child in self._children(part) if child.pid is not None] for part in PARTS}

    async def counted(self, part: str, metric: str) -> float:
        """The sum of a metric without labels over the part's workers."""
        total = 0.0
        async with httpx.AsyncClient(timeout=_CALL_S, trust_env=False) as http:
            for child in self._children(part):
                text = (await http.get(f"http://127.0.0.1:{child.port}/metrics")).raise_for_status().text
                total += sum(float(value) for value in re.findall(rf"^{metric} (\S+)$", text, re.MULTILINE))
        return total

    def _children(self, part: str) -> list[ChildState]:
        return [child for child in self.state.children if child.name.split("-")[0] == part]


def stack_on(data: Path) -> Stack:
    """The one that runs there. Raises StackError."""
    return Stack(data, read_settings(ready_stack(data).environ))


@asynccontextmanager
async def running_stack(data: Path, api: int, ledger: int, say: Callable[[str], None]) -> AsyncIterator[Stack]:
    """Started, and stopped at the end, however it comes. Raises StackError."""
    command = python("redpacket.cli", "up", "--data", str(data), "--port", "0")
    command += ["--api", str(api), "--ledger", str(ledger)]
    # In a session of its own, so that Ctrl-C reaches it through this process only; and it never outlives this process.
    process = await asyncio.create_subprocess_exec(
        *guarded(command, SIGTERM), stdout=PIPE, stderr=STDOUT, env=plain_environ(), start_new_session=True
    )
    try:
        await _wait_ready(process, say)
        reading = asyncio.create_task(_drop(process))
        yield stack_on(data)
        reading.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(SIGTERM)
            async with asyncio.timeout(_STOP_S):
                await process.wait()


async def _wait_ready(process: Process, say: Callable[[str], None]) -> None:
    assert process.stdout is not None
    lines = []
    async with asyncio.timeout(_START_S):
        async for raw in process.stdout:
            lines.append(raw.decode().rstrip())
            say(lines[-1])
            if lines[-1].startswith("ready http://"):
                return
    raise StackError("the stack did not start:\n" + "\n".join(lines))


async def _drop(process: Process) -> None:
    """A pipe that nobody reads would stop the stack once it is full."""
    assert process.stdout is not None
    while await process.stdout.read(65_536):
        pass
