"""What ends a command from outside ends everything that it has started, and leaves no token behind."""

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loadtest.rehearsal.plan import BEGAN
from loadtest.scratch import scratch_folder
from redpacket.stack.lock import held_lock
from tests.processes import descendants, wait_gone
from tests.system import COMMAND, System

LONG_S = 300.0
# The kernel's word comes at once; a stack that is told to stop takes its time.
SOON_S = 45.0


@asynccontextmanager
async def _running(*arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE, stderr=STDOUT)
    started: set[int] = set()
    try:
        yield process
    finally:
        if process.returncode is None:
            started = descendants(process.pid)
            process.kill()
            await process.wait()
        await wait_gone(started, SOON_S)


async def _said(process: Process, line_begins: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(LONG_S):
        async for line in process.stdout:
            if line.decode().startswith(line_begins):
                return
    raise AssertionError(f"it ended with status {await process.wait()} and never said {line_begins!r}")


async def _until(holds: Callable[[], bool], process: Process) -> None:
    async with asyncio.timeout(LONG_S):
        while not holds():
            assert process.returncode is None
            await asyncio.sleep(0.05)


def _tokens(folder: Path) -> list[Path]:
    return [it for it in folder.rglob("*") if it.is_file() and b"eyJ" in it.read_bytes()]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
async def test_a_rehearsal_that_is_hung_up_or_killed_leaves_nobody_who_goes_on_and_no_token(
    system: System, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "report"
    options = ["--users", "12", "--minutes", "5", "--processes", "2", "--data", str(system.data), "--out", str(out)]
    async with _running("rehearse", "steady", *options) as process:
        await _until((out / BEGAN).exists, process)
        people = descendants(process.pid)
        assert len(people) >= 3, "locust, and its two processes"
        assert not _tokens(out)
        process.send_signal(number)
        async with asyncio.timeout(SOON_S):
            said, _ = await process.communicate()
        assert process.returncode == (2 if number is signal.SIGHUP else -signal.SIGKILL), said
        assert number is signal.SIGKILL or b"interrupted" in said
        await wait_gone(people, SOON_S)
    assert not _tokens(out)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", ["rehearse", "bench", "up"])
async def test_the_stack_of_a_command_ends_with_it(
    command: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {
        "rehearse": ["rehearse", "steady", "--users", "10", "--out", str(tmp_path / "out")],
        "bench": ["bench", "--seconds", "30", "--connections", "8"],
        "up": ["up", "--port", "0", "--data", str(tmp_path / "data")],
    }[command]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    async with _running(*arguments) as process:
        await _said(process, {"rehearse": "money for", "bench": "warming", "up": "ready http://"}[command])
        started = descendants(process.pid)
        assert len(started) > 5
        process.send_signal(number)
        async with asyncio.timeout(LONG_S):
            await process.communicate()
        await wait_gone(started, SOON_S)
    # What a killed one has left, the next one takes away.
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    if number is signal.SIGKILL:
        with scratch_folder({"rehearse": "rehearsal"}.get(command, command)):
            pass
    assert not os.listdir(scratch)


def test_only_a_folder_that_a_killed_process_has_left_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("redpacket-bench-left", "redpacket-bench-held", "redpacket-bench-notes", "redpacket-other-left"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "lock").touch()
    (tmp_path / "redpacket-bench-notes" / "thesis.txt").touch()
    (tmp_path / "redpacket-bench-new").mkdir()
    with held_lock(tmp_path / "redpacket-bench-held" / "data" / "stack"):
        with scratch_folder("bench") as folder:
            assert folder.is_dir()
            assert not (tmp_path / "redpacket-bench-left").exists()
        assert {it.name for it in tmp_path.iterdir()} == {
            "redpacket-bench-held",
            "redpacket-bench-new",
            "redpacket-bench-notes",
            "redpacket-other-left",
        }


async def test_a_signal_asks_to_stop_and_nohup_is_heeded() -> None:
    code = (
        "import asyncio, signal, sys\nfrom redpacket.ops.signals import stop_on_signals\n"
        "if sys.argv[1] == 'nohup': signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "async def main():\n    stop = stop_on_signals()\n    print('up', flush=True)\n    await stop.wait()\n"
        "asyncio.run(main())\nprint('in good order')\n"
    )
    for how, numbers in (("", [signal.SIGHUP]), ("", [signal.SIGTERM]), ("nohup", [signal.SIGHUP, signal.SIGINT])):
        process = await asyncio.create_subprocess_exec(COMMAND[0], "-c", code, how, stdout=PIPE)
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"up\n"
            for number in numbers[:-1]:
                process.send_signal(number)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(process.wait(), 0.5)
            process.send_signal(numbers[-1])
            out, _ = await asyncio.wait_for(process.communicate(), LONG_S)
            assert (process.returncode, out) == (0, b"in good order\n")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
