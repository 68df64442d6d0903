"""Keeps named children running, and stops them in the order asked for."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from redpacket.stack.child import Child
from redpacket.stack.logs import Log
from redpacket.stack.program import Program


class Supervisor:
    """Leaving it kills what still runs, so nothing is left however its user fails; an orderly stop comes before that.

    Children live only as long as the thread of the event loop: the kernel kills them with it.
    """

    def __init__(self, logs: Path, changed: Callable[[], None] = lambda: None) -> None:
        self.children: dict[str, Child] = {}
        self._logs = logs
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        bugs = [end for end in ends if isinstance(end, Exception)]
        if bugs and error is None:
            raise bugs[0]

    def log(self, name: str) -> Log:
        return Log(self._logs / f"{name}.log")

    def add(self, program: Program) -> Child:
        """Start `program` and keep it running."""
        child = Child(program, self.log(program.name), self._changed)
        self.children[program.name] = child
        self._tasks.add(asyncio.create_task(child.run(), name=program.name))
        self._changed()
        return child

    async def stop(self, names: Iterable[str]) -> None:
        """Stop these children together, each within its own bounded time; a name that never came to be is no error."""
        await asyncio.gather(*(self.children[name].stop() for name in names if name in self.children))

    async def watch(self) -> None:
        """Wait for ever. Raises what ended a child's keeper, which is a fault of this program."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
