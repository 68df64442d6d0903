"""The floor of HTTP: the same requests, answered with a constant by a server like an API worker (constant.py)."""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest.bench.load import fire
from loadtest.cpu import cpu_s
from redpacket.stack.program import guarded, python

_SECONDS = 2.0
_START_S, _STOP_S = 30.0, 10.0


async def measure_http(requests: Path, connections: int) -> dict[str, float]:
    """Seconds of CPU an answer. Raises LoadError."""
    async with constant_server() as (pid, port):
        before_s = cpu_s(pid)
        fired = await fire(port, connections, requests, _SECONDS, again=True)
        return {"api": (cpu_s(pid) - before_s) / max(1, sum(fired.statuses.values()))}


@asynccontextmanager
async def constant_server() -> AsyncIterator[tuple[int, int]]:
    """Its pid and its port."""
    process = await asyncio.create_subprocess_exec(*guarded(python("loadtest.bench.constant")), stdout=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            port = int(await process.stdout.readline())
        yield process.pid, port
    finally:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
