"""One child process: started, seen to answer, started again when it dies, stopped in bounded time."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from signal import SIGCONT, SIGKILL, Signals
from typing import Literal

from redpacket.stack.error import StackError
from redpacket.stack.logs import Log
from redpacket.stack.ports import why_not_free
from redpacket.stack.program import HopelessError, NotAnsweringError, Program, spawn

State = Literal["starting", "ready", "restarting", "stopped"]

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
# A child that has worked for this long before it died had no fault in its start: the pauses begin anew.
RAN_WELL_S = 1.0
# So many deaths in a row without ever working (about 6 s of pauses): whoever waits for it is told.
FALSE_STARTS_MAX = 8
ANSWER_TIMEOUT_S = 3.0
LOOK_S = 0.05
TRIM_S = 5.0
KILLED_S = 5.0


def pause_s(deaths: int) -> float:
    """Seconds to wait after so many deaths in a row: none after the first one."""
    return 0.0 if deaths <= 1 else min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(deaths - 2, 10))


class Child:
    def __init__(self, program: Program, log: Log, changed: Callable[[], None]) -> None:
        self.program = program
        self.log = log
        self.state: State = "starting"
        self.pid: int | None = None
        self.restarts = 0
        self._changed = changed
        self._process: Process | None = None
        self._deaths = 0
        self._false_starts = 0
        self._ready_at: float | None = None
        self._seen = "it has not been asked yet"
        self._hopeless = False
        self._wanted = asyncio.Event()
        self._gone = asyncio.Event()
        self._wanted.set()
        self._gone.set()

    async def run(self) -> None:
        """Keep the process running until cancelled, which kills it."""
        while True:
            await self._wanted.wait()
            if self._deaths:
                self.restarts += 1
            await self._run_process()
            self._deaths = 1 if self._ran_well() else self._deaths + 1
            self._false_starts = self._false_starts + 1 if self._ready_at is None else 0
            if self._wanted.is_set():
                self._show("restarting")
                await asyncio.sleep(pause_s(self._deaths))
            else:
                self._show("stopped")

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return once it does its work. Raises StackError with the end of its log when it is late or dies each time."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.state != "ready":
            if self._false_starts >= FALSE_STARTS_MAX:
                raise self._error("dies again and again")
            if self._hopeless:
                raise self._error("cannot become ready")
            if asyncio.get_running_loop().time() > deadline:
                raise self._error(f"is not ready after {timeout_s:g} s")
            await asyncio.sleep(LOOK_S)

    def signal(self, number: Signals) -> None:
        """Send it a signal; nothing where no process runs."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended
                self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; it is started again, at once however often this is done."""
        self.signal(SIGKILL)
        self._deaths = 0
        # At once, so that wait_ready waits for the next process even before the death of this one is seen.
        if self.state == "ready":
            self._show("restarting")

    async def stop(self, number: Signals | None = None) -> None:
        """Send it `number` (None: its own stop signal), after `stop_s` SIGKILL; return when it is gone, for good."""
        self._wanted.clear()
        self.signal(number or self.program.stop_signal)
        self.signal(SIGCONT)  # a suspended one could not heed it
        try:
            async with asyncio.timeout(self.program.stop_s):
                await self._gone.wait()
        except TimeoutError:
            self.signal(SIGKILL)
            await self._wait_killed()
        self._show("stopped")

    def start(self) -> None:
        """Let it run again after stop()."""
        self._deaths = self._false_starts = 0
        self._hopeless = False
        self._show("starting")
        self._wanted.set()

    @asynccontextmanager
    async def down(self, number: Signals = SIGKILL) -> AsyncIterator[None]:
        """Ended by signal `number` and kept down within; started on leaving (wait_ready waits for it)."""
        await self.stop(number)
        try:
            yield
        finally:
            self.start()

    async def _run_process(self) -> None:
        self._gone.clear()
        self._ready_at = None
        try:
            process = self._process = await spawn(self.program, self.log)
            if not self._wanted.is_set():  # stop() came while it was being started and had nobody to signal
                process.kill()
            self.pid = process.pid
            self._show("starting")
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self._wait_answer(process.pid))
                await self._wait_end(process)
                answering.cancel()
        except OSError as error:
            self._seen = f"it cannot be started: {error}"
        finally:
            await self._kill_rest()
            self.pid = None
            self._gone.set()

    async def _wait_answer(self, pid: int) -> None:
        while self._ready_at is None:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self.program.answers(pid)
            except (NotAnsweringError, TimeoutError) as error:
                self._seen = str(error) or "no answer"
                self._hopeless = isinstance(error, HopelessError)
                await asyncio.sleep(LOOK_S)
            else:
                self._ready_at = asyncio.get_running_loop().time()
                self._seen = "it did answer"
                self._hopeless = False
                self._show("ready")

    async def _wait_end(self, process: Process) -> None:
        while process.returncode is None:
            try:
                async with asyncio.timeout(TRIM_S):
                    await process.wait()
            except TimeoutError:
                with suppress(OSError):  # a full disk: tried again, and no reason to end what runs
                    self.log.trim()

    async def _kill_rest(self) -> None:
        """Where run() was cancelled: no process outlives it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            async with asyncio.timeout(KILLED_S):
                await self._process.wait()

    async def _wait_killed(self) -> None:
        try:
            async with asyncio.timeout(KILLED_S):
                await self._gone.wait()
        except TimeoutError:  # it hangs in the kernel, on a disk for instance
            raise self._error(f"(process {self.pid}) is still there {KILLED_S:g} s after SIGKILL") from None

    def _error(self, what: str) -> StackError:
        seen, port = self._seen, self.program.port
        if self.pid is None and port is not None and (why := why_not_free(port)):
            seen = f"its port {port} of 127.0.0.1 is not available: {why}"
        return StackError(f"{self.program.name} {what} ({seen}):\n{self.log.tail()}")

    def _ran_well(self) -> bool:
        return self._ready_at is not None and asyncio.get_running_loop().time() - self._ready_at > RAN_WELL_S

    def _show(self, state: State) -> None:
        self.state = state
        self._changed()
