"""The roll, with small programs in place of workers: one at a time, and a sentence where it cannot go on."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redpacket.settings import Settings, settings_environ
from redpacket.stack import roll
from redpacket.stack.error import StackError
from redpacket.stack.lock import held_lock
from redpacket.stack.program import NotAnsweringError, Program
from redpacket.stack.roll import roll_workers
from redpacket.stack.state import ChildState, StackState, child_states, read_stack, write_stack
from redpacket.stack.supervise import Supervisor
from redpacket.stack.workers import stop_s

LONG_S = 30.0
SETTINGS = Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir="")
SLEEP = ("sleep", "1000")
DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(1000)",
)


class Stack:
    """What `redpacket up` keeps of itself."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.starts: Counter[str] = Counter()
        # Of each kind the fewest that were ready at once, since all were.
        self.fewest_ready: dict[str, int] = {}
        self.supervisor = Supervisor(data / "logs", self._publish)

    async def add(self, name: str, argv: Sequence[str] = SLEEP, *, starts_max: int = 100) -> None:
        """A worker that is ready from each of its first `starts_max` starts."""

        async def answers(pid: int) -> None:
            self.starts[name] += 1
            if self.starts[name] > starts_max:
                raise NotAnsweringError("it has had its starts")

        child = self.supervisor.add(Program(name=name, argv=argv, environ=dict(os.environ), answers=answers))
        await child.wait_ready(LONG_S)

    def child(self, name: str) -> ChildState:
        return next(child for child in read_stack(self.data).children if child.name == name)

    def watch(self) -> None:
        self.fewest_ready = {"api": 100, "ledger": 100}

    def _publish(self) -> None:
        children = child_states(self.supervisor.children.values())
        write_stack(self.data, StackState(os.getpid(), True, "", settings_environ(SETTINGS), children))
        for kind, fewest in self.fewest_ready.items():
            ready = sum(child.state == "ready" for child in children if child.name.startswith(kind))
            self.fewest_ready[kind] = min(fewest, ready)


@asynccontextmanager
async def stack_on(data: Path) -> AsyncIterator[Stack]:
    with held_lock(data):
        stack = Stack(data)
        async with stack.supervisor:
            yield stack


async def rolled(data: Path, kind: roll.Kind, say: Callable[[str], None] = lambda _: None) -> None:
    async with asyncio.timeout(LONG_S):
        await asyncio.to_thread(roll_workers, data, kind, say)


async def test_each_worker_of_the_kind_is_restarted_and_one_at_a_time(tmp_path: Path) -> None:
    async with stack_on(tmp_path) as stack:
        names = ["api-0", "api-1", "api-2", "ledger-0"]
        for name in names:
            await stack.add(name)
        before = {name: stack.child(name) for name in names}
        stack.watch()
        lines: list[str] = []
        await rolled(tmp_path, "api", lines.append)
        after = {name: stack.child(name) for name in names}
        assert [line.split()[0] for line in lines] == names[:3]
        for name in names[:3]:
            assert after[name].pid not in (None, before[name].pid)
            assert (after[name].restarts, after[name].state) == (1, "ready")
        assert after["ledger-0"] == before["ledger-0"]
        assert stack.fewest_ready["api"] == 2


async def test_nothing_is_rolled_while_a_worker_is_away(tmp_path: Path) -> None:
    async with stack_on(tmp_path) as stack:
        await stack.add("api-0")
        await stack.add("api-1", starts_max=1)
        before = stack.child("api-0")
        stack.supervisor.children["api-1"].kill()
        with pytest.raises(StackError, match=r"api-1 is not ready \((re)?starting\): nothing is rolled"):
            await rolled(tmp_path, "api")
        assert stack.child("api-0") == before


async def test_a_worker_that_does_not_stop_ends_the_roll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll, "stop_s", lambda *_: 0.1)
    monkeypatch.setattr(roll, "_STOP_MARGIN_S", 0.0)
    async with stack_on(tmp_path) as stack:
        await stack.add("api-0", DEAF)
        await stack.add("api-1")
        async with asyncio.timeout(LONG_S):
            while not stack.supervisor.children["api-0"].log.tail():
                await asyncio.sleep(0.02)
        before = stack.child("api-1")
        pid = stack.child("api-0").pid
        with pytest.raises(StackError, match=rf"api-0 \(process {pid}\) has not stopped after 0.1 s"):
            await rolled(tmp_path, "api")
        assert stack.child("api-1") == before


async def test_a_worker_that_does_not_come_back_ends_the_roll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll, "WORKER_TIMEOUT_S", 0.3)
    async with stack_on(tmp_path) as stack:
        await stack.add("ledger-0", starts_max=1)
        await stack.add("ledger-1")
        before = stack.child("ledger-1")
        with pytest.raises(StackError, match=r"ledger-0 is not back after 0.3 s"):
            await rolled(tmp_path, "ledger")
        assert stack.child("ledger-1") == before


async def test_a_worker_that_dies_by_itself_when_its_turn_comes_counts_as_rolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack_on(tmp_path) as stack:
        await stack.add("api-0")

        def dies_first(pid: int, number: signal.Signals) -> None:
            monkeypatch.undo()
            os.kill(pid, signal.SIGKILL)
            raise ProcessLookupError

        monkeypatch.setattr(os, "kill", dies_first)
        await rolled(tmp_path, "api")
        assert stack.child("api-0").restarts == 1


def test_no_stack_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no stack is running"):
        roll_workers(tmp_path, "api", print)


def test_the_patience_with_an_api_worker_follows_its_request_timeout() -> None:
    patient = Settings(postgres_url="", redis_url="", kafka_bootstrap="", keys_dir="", request_timeout_ms=60_000)
    assert stop_s("api-0", patient) - stop_s("api-0", SETTINGS) == 57
    assert stop_s("ledger-0", patient) == stop_s("ledger-0", SETTINGS)
