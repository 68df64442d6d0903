"""What lies in the folder one stands in is never run, whatever its name. The stack of these tests was started from one
(tests/conftest.py); a rehearsal from one is in test_rehearsal.py."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from loadtest.bench.floors.http import constant_server
from loadtest.bench.load import fire, write_requests
from redpacket.cli import main
from tests.foreign import foreign_folder, imported
from tests.system import System, run_command


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    return foreign_folder(tmp_path / "foreign")


async def test_the_stack_and_what_asks_it_import_only_the_installation(system: System, foreign: Path) -> None:
    started_in = Path(os.readlink(f"/proc/{system.process.pid}/cwd"))
    assert (started_in / "service" / "__init__.py").exists()
    assert {child.state for child in system.state.children} == {"ready"}
    for name in ("ps", "audit"):
        status, out, error = await run_command(name, "--data", str(system.data), cwd=foreign)
        assert status == 0, out + error
    assert (imported(started_in), imported(foreign)) == ([], [])


async def test_every_command_is_that_of_the_installation(foreign: Path) -> None:
    async def help_of(*argv: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(*argv, "--help", cwd=foreign, stdout=PIPE, stderr=PIPE)
        out, error = await process.communicate()
        return process.returncode, (out + error).decode()

    script = str(Path(sys.executable).with_name("redpacket"))
    for name in sorted(main.commands):
        status, said = await help_of(script, name)
        assert (status, f"Usage: redpacket {name}" in said) == (0, True), said
    assert imported(foreign) == []


async def test_the_generator_and_the_server_of_the_bench_are_those_of_the_installation(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(foreign)
    requests = tmp_path / "requests"
    write_requests(requests, [b"POST /v1/packets/1/claims HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"] * 10)
    async with constant_server() as (_, port):
        assert (await fire(port, 1, requests, generator="own")).statuses == {"201": 10}
    assert imported(foreign) == []
