"""The whole system as its users have it: `redpacket up` in a process of its own, reached through HTTP."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from redpacket.settings import Settings, read_settings
from redpacket.stack.program import python
from redpacket.stack.roles import SUPERUSER, role_url
from redpacket.stack.sockets import socket_folder
from redpacket.stack.state import StackState, read_stack
from redpacket.stack.tokens import issue_token

START_S = 120.0
STOP_S = 30.0
# As its users have it: what lies in the current folder is not imported.
COMMAND = tuple(python("redpacket.cli"))
# Whatever the command.
_COMMAND_S = 300.0


@dataclass
class System:
    data: Path
    url: str
    settings: Settings
    process: Process

    @property
    def state(self) -> StackState:
        return read_stack(self.data)

    def pid_of(self, name: str) -> int:
        (pid,) = (child.pid for child in self.state.children if child.name == name)
        assert pid is not None
        return pid

    @asynccontextmanager
    async def suspended(self, *names: str) -> AsyncIterator[None]:
        """These processes stand still within."""
        pids = [self.pid_of(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    @property
    def superuser_url(self) -> str:
        return role_url(self.data / "postgres", socket_folder(self.data), SUPERUSER)

    def token(self, owner: str, scope: str = "") -> str:
        return issue_token(self.settings, owner, scope)

    def client(self, owner: str, scope: str = "", url: str | None = None) -> httpx.AsyncClient:
        """A client with the owner's token; close it, or use it as a context manager."""
        headers = {"Authorization": f"Bearer {self.token(owner, scope)}"}
        limits = httpx.Limits(max_connections=500, max_keepalive_connections=500)
        return httpx.AsyncClient(
            base_url=url or self.url, headers=headers, timeout=15.0, limits=limits, trust_env=False
        )

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What a look into the ledger says."""
        connection = await asyncpg.connect(self.settings.postgres_url)
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()


async def run_command(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str, str]:
    """`redpacket ARGUMENTS`: its exit status, what it has printed, and its errors."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **(environ or {})},
        cwd=cwd,
    )
    async with asyncio.timeout(_COMMAND_S):
        out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


@asynccontextmanager
async def running_system(
    data: Path, *options: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[System]:
    """`environ`: settings of its own, beside those of this process. `cwd`: the folder it is started from."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "up", "--data", str(data), "--port", "0", *options),
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, **(environ or {})},
        cwd=cwd,
    )
    try:
        lines = await _read_until_ready(process)
        reading = asyncio.create_task(_drop(process))
        state = read_stack(data)
        try:
            yield System(data, state.url, read_settings(state.environ), process)
        except BaseException:
            print("".join(lines), *(f"{log.name}:\n{log.read_text()[-3000:]}" for log in (data / "logs").iterdir()))
            raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            await process.wait()
    await reading


async def _read_until_ready(process: Process) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(START_S):
        async for raw in process.stdout:
            lines.append(raw.decode())
            if lines[-1].startswith("ready http://"):
                return lines
    raise AssertionError("the system did not start:\n" + "".join(lines))


async def _drop(process: Process) -> None:
    """A pipe that nobody reads would stop the system once it is full."""
    assert process.stdout is not None
    while await process.stdout.read(65_536):
        pass
