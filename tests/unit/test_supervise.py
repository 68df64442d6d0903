"""The supervisor, with small programs in place of servers."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from redpacket.settings import SettingsError
from redpacket.stack.child import PAUSE_MAX_S, Child, pause_s
from redpacket.stack.error import StackError
from redpacket.stack.files import make_folder
from redpacket.stack.lock import held_lock, lock_holder
from redpacket.stack.logs import BYTES_MAX, Log
from redpacket.stack.ports import Ports, free_ports, kept_ports
from redpacket.stack.program import NotAnsweringError, Program, run_once
from redpacket.stack.state import read_stack
from redpacket.stack.supervise import Supervisor
from redpacket.stack.workers import stack_settings

LONG_S = 30.0
SLEEP = ["sleep", "1000"]


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs") as supervisor:
        yield supervisor


async def at_once(pid: int) -> None:
    """A check for programs that need no time to be ready."""


def sleeper(name: str = "sleeper", answers: Callable[[int], Awaitable[None]] = at_once) -> Program:
    return Program(name=name, argv=SLEEP, environ=dict(os.environ), answers=answers, stop_s=LONG_S)


def python(code: str, stop_s: float = LONG_S) -> Program:
    return Program(
        name="python", argv=[sys.executable, "-c", code], environ=dict(os.environ), answers=at_once, stop_s=stop_s
    )


def exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie that nobody has waited for."""
    return Path(f"/proc/{pid}").exists()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not holds():
            await asyncio.sleep(0.02)


def pid_of(child: Child) -> int:
    assert child.pid is not None
    return child.pid


async def test_a_child_that_dies_is_started_again(supervisor: Supervisor) -> None:
    child = supervisor.add(sleeper())
    await child.wait_ready()
    first = pid_of(child)
    child.kill()
    await child.wait_ready()
    assert pid_of(child) != first
    assert child.restarts == 1
    assert not exists(first)


async def test_killing_a_child_again_and_again_neither_slows_its_return_nor_looks_like_a_fault(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redpacket.stack.child.PAUSE_FIRST_S", LONG_S)  # one pause would be the end of this test
    child = supervisor.add(sleeper())
    for _ in range(12):
        await child.wait_ready(LONG_S)
        child.kill()
    await child.wait_ready(LONG_S)
    assert child.restarts == 12


def test_the_pauses_between_starts_grow_and_are_bounded() -> None:
    pauses = [pause_s(deaths) for deaths in range(1, 100)]
    assert pauses[:3] == [0.0, 0.1, 0.2]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MAX_S


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redpacket.stack.child.PAUSE_FIRST_S", 0.001)


@pytest.mark.usefixtures("short_pauses")
async def test_a_child_that_dies_each_time_is_reported_with_its_last_words(supervisor: Supervisor) -> None:
    program = Program(
        name="broken",
        argv=["sh", "-c", "echo my last words; exit 3"],
        environ=dict(os.environ),
        answers=lambda _: asyncio.sleep(LONG_S),
    )
    child = supervisor.add(program)
    with pytest.raises(StackError, match=r"broken dies again and again \(.*\):\nmy last words"):
        await child.wait_ready(LONG_S)


@pytest.mark.usefixtures("short_pauses")
async def test_a_child_whose_port_somebody_else_has_is_reported_with_the_port(supervisor: Supervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = Program(name="late", argv=["false"], environ={}, answers=lambda _: asyncio.sleep(LONG_S), port=port)
        child = supervisor.add(program)
        with pytest.raises(StackError, match=rf"late dies again and again \(its port {port} of 127.0.0.1 is not avail"):
            await child.wait_ready(LONG_S)


@pytest.mark.usefixtures("short_pauses")
async def test_a_program_that_is_not_there_is_reported(supervisor: Supervisor) -> None:
    program = Program(name="absent", argv=["/no/such/program"], environ={}, answers=lambda _: asyncio.sleep(LONG_S))
    with pytest.raises(StackError, match=r"absent dies again and again \(.*\):\n.*/no/such/program"):
        await supervisor.add(program).wait_ready(LONG_S)


async def test_a_child_that_never_answers_is_reported_with_what_was_seen(supervisor: Supervisor) -> None:
    async def refuses(pid: int) -> None:
        raise NotAnsweringError("nobody is in")

    with pytest.raises(StackError, match=r"sleeper is not ready after 0.2 s \(nobody is in\)"):
        await supervisor.add(sleeper(answers=refuses)).wait_ready(0.2)


async def test_a_stopped_child_stays_down_until_it_is_started(supervisor: Supervisor) -> None:
    child = supervisor.add(sleeper())
    await child.wait_ready()
    first = pid_of(child)
    async with child.down():
        assert child.state == "stopped"
        assert child.pid is None
        assert not exists(first)
    await child.wait_ready()
    assert pid_of(child) != first


async def test_a_child_that_ignores_its_stop_signal_is_killed(supervisor: Supervisor) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
    child = supervisor.add(python(code, stop_s=0.1))
    await until(lambda: "deaf" in child.log.tail())
    pid = pid_of(child)
    await child.stop()
    assert not exists(pid)
    assert child.state == "stopped"


async def test_a_suspended_child_is_stopped_in_good_order(supervisor: Supervisor) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (print('good bye', flush=True), sys.exit()))\n"
        "print('hello', flush=True)\ntime.sleep(1000)"
    )
    child = supervisor.add(python(code))
    await until(lambda: "hello" in child.log.tail())
    child.signal(signal.SIGSTOP)
    await child.stop()
    assert "good bye" in child.log.tail()


async def test_a_child_stopped_while_it_is_being_started_does_not_run(supervisor: Supervisor) -> None:
    child = supervisor.add(sleeper())
    await asyncio.sleep(0)  # its task has begun, its process is being made
    await child.stop()
    await asyncio.sleep(0.2)
    assert child.pid is None
    assert child.state == "stopped"


async def test_leaving_the_supervisor_kills_what_runs(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        child = supervisor.add(sleeper())
        await child.wait_ready()
        pid = pid_of(child)
    assert not exists(pid)


async def test_a_cancelled_user_leaves_no_process(tmp_path: Path) -> None:
    pids: list[int] = []

    async def use() -> None:
        async with Supervisor(tmp_path) as supervisor:
            child = supervisor.add(sleeper())
            await child.wait_ready()
            pids.append(pid_of(child))
            await supervisor.watch()

    user = asyncio.create_task(use())
    await until(lambda: bool(pids))
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    assert not exists(pids[0])


async def test_a_child_does_not_outlive_its_killed_parent(tmp_path: Path) -> None:
    code = f"""
import asyncio, os
from pathlib import Path
from redpacket.stack.program import Program
from redpacket.stack.supervise import Supervisor

async def main():
    async def answers(pid): pass
    async with Supervisor(Path({str(tmp_path)!r})) as supervisor:
        for name in ("a", "b"):
            program = Program(name=name, argv=["sleep", "1000"], environ=dict(os.environ), answers=answers,
                              never_root=name == "b")
            child = supervisor.add(program)
            await child.wait_ready()
            print(child.pid, flush=True)
        await supervisor.watch()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    try:
        pids = [int(await asyncio.wait_for(parent.stdout.readline(), LONG_S)) for _ in range(2)]
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: not any(exists(pid) for pid in pids))


async def test_a_one_shot_that_fails_is_reported_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"ended with status 4:\nno such luck"):
        await run_once(["sh", "-c", "echo no such luck; exit 4"], {}, Log(tmp_path / "log"), timeout_s=LONG_S)


async def test_a_one_shot_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    with pytest.raises(StackError, match=r"was not done after 0.5 s"):
        await run_once(["sh", "-c", "sleep 1000 & echo $!; wait"], dict(os.environ), log, timeout_s=0.5)
    await until(lambda: not exists(int(log.tail())))


def test_a_log_is_bounded_also_while_it_is_written(tmp_path: Path) -> None:
    log = Log(tmp_path / "child.log")
    with log.open() as output:
        output.write(b"x" * (BYTES_MAX + 1))
        output.flush()
        log.trim()
        output.write(b"the latest\n")
    assert log.tail() == "the latest"
    assert log.path.stat().st_size < 100


def test_ports_are_kept_and_a_taken_one_is_chosen_anew(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = kept_ports(file)
    assert kept_ports(file) == first
    with socket.create_server(("127.0.0.1", first.kafka)):
        second = kept_ports(file)
    assert second.kafka != first.kafka
    assert second == Ports(second.kafka, first.kafka_controller)


def test_free_ports_differ_from_each_other() -> None:
    assert len(set(free_ports(100))) == 100


def test_a_data_folder_has_one_stack_at_a_time(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    with held_lock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with pytest.raises(StackError, match=f"already running on .* {os.getpid()}"), held_lock(tmp_path):
            pass
    assert lock_holder(tmp_path) is None


def test_a_stack_that_is_not_running_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no stack is running"):
        read_stack(tmp_path)
    (tmp_path / "stack.json").write_text('{"pid":1,"ready":true,"url":"","environ":{},"children":[]}')
    with pytest.raises(StackError, match="is still starting"), held_lock(tmp_path):
        read_stack(tmp_path)


async def test_a_folder_is_made_whole_or_again(tmp_path: Path) -> None:
    async def cut(folder: Path) -> None:
        (folder / "mark").touch()
        raise StackError("cut")

    async def make(folder: Path) -> None:
        assert os.listdir(folder) == []
        (folder / "mark").touch()

    with pytest.raises(StackError, match="cut"):
        await make_folder(tmp_path / "made", "mark", cut)
    assert not (tmp_path / "made").exists()
    await make_folder(tmp_path / "made", "mark", make)
    await make_folder(tmp_path / "made", "mark", cut)  # it is there: nothing is made


async def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    async def make(folder: Path) -> None:
        raise AssertionError

    with pytest.raises(StackError, match="not empty"):
        await make_folder(tmp_path, "mark", make)
    assert (tmp_path / "thesis.txt").exists()


def test_settings_that_tune_are_passed_on_and_places_are_the_stacks_own() -> None:
    own = {"postgres_url": "p", "redis_url": "r", "kafka_bootstrap": "k", "keys_dir": "d"}
    environ = {"REDPACKET_BATCH_MAX": "7", "REDPACKET_REDIS_URL": "elsewhere", "REDPACKET_OPS_PORT": "1", "HOME": "/"}
    settings = stack_settings(environ, **own)
    assert (settings.batch_max, settings.redis_url, settings.ops_port) == (7, "r", 0)
    with pytest.raises(SettingsError, match="REDPACKET_BATCH_MAXIMUM"):
        stack_settings({"REDPACKET_BATCH_MAXIMUM": "7"}, **own)
