"""The way from the newest landed version to this one, as docs/operations.md tells it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redpacket.stack.state import read_stack
from tests.system import START_S, STOP_S, run_command, running_system
from tests.versions import LANDED, unpack


@pytest.mark.long
async def test_a_running_system_of_the_newest_landed_version_is_migrated_and_goes_on_and_so_does_its_data(
    tmp_path: Path,
) -> None:
    code, data = tmp_path / "code", tmp_path / "data"
    unpack(LANDED[-1], code)
    at_data = ("--data", str(data))
    async with _old_system(code, data) as url:
        assert url.startswith("http://127.0.0.1:")
        await _old(code, "demo", *at_data)

        # 1. The new version's migrate; the old one runs on the new schema, and its workers start on it.
        settings = read_stack(data).environ
        status, out, error = await run_command("migrate", environ=settings)
        assert status == 0, error
        assert "applied 0009_one_schema.sql" in out
        status, out, error = await run_command("migrate", environ=settings)
        assert (status, "applied" in out) == (0, False), "twice is once"
        await _old(code, "demo", *at_data)
        for kind in ("ledger", "api"):
            await _old(code, "roll", kind, *at_data)
        await _old(code, "demo", *at_data)
        await _old(code, "audit", *at_data)

        # As the guide says: of 0.1.0 alone these two refuse.
        said = await _old(code, "migrate", environ=settings, status=1)
        assert "migrations of a newer version" in said

    # 2. The new version on the old one's data.
    async with running_system(data):
        status, out, error = await run_command("demo", *at_data)
        assert status == 0, out + error
        status, out, error = await run_command("audit", "--since", "start", *at_data)
        assert status == 0, out + error


async def _start_old(code: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Process:
    """Its code comes first on the path, also of the processes that it starts."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "redpacket.cli", *arguments),
        cwd=code,
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, "PYTHONPATH": str(code), **(environ or {})},
    )


async def _old(code: Path, *arguments: str, environ: Mapping[str, str] | None = None, status: int = 0) -> str:
    process = await _start_old(code, *arguments, environ=environ)
    async with asyncio.timeout(2 * START_S):
        out, _ = await process.communicate()
    said = out.decode()
    assert process.returncode == status, f"{arguments} of {LANDED[-1].name}: {said}"
    return said


@asynccontextmanager
async def _old_system(code: Path, data: Path) -> AsyncIterator[str]:
    process = await _start_old(code, "up", "--data", str(data), "--port", "0")
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(START_S):
            while not (lines and lines[-1].startswith("ready ")):
                line = (await process.stdout.readline()).decode()
                assert line, "it ended:\\n" + "".join(lines)
                lines.append(line)
        yield lines[-1].split()[1]
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            await process.communicate()
