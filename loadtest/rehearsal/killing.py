"""What a rehearsal does to its own stack: at the peak it kills processes, one each second."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from signal import SIGKILL

from loadtest.rehearsal.error import RehearsalError
from loadtest.rehearsal.figures import Mark
from loadtest.stack import Stack

_APART_S = 1.0


def check_names(known: Sequence[str], names: Sequence[str]) -> None:
    """Raises RehearsalError where one is of no process: a rehearsal without its faults would be taken for one with."""
    for name in names:
        if name not in known:
            raise RehearsalError(f"--kill {name}: the stack has {', '.join(known)}")


async def kill_at(stack: Stack, names: Sequence[str], peak_s: float, began_s: float) -> list[Mark]:
    """From `peak_s` (since 1970) on. The names are those of `redpacket ps`; the stack starts them again. Marks count
    from `began_s`."""
    await asyncio.sleep(peak_s - time.time())
    marks = []
    for name in names:
        pid = next((it.pid for it in stack.state.children if it.name == name), None)
        done = "was down, not killed"
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
                done = "killed"
        marks.append(Mark(time.time() - began_s, f"{name} {done}"))
        await asyncio.sleep(_APART_S)
    return marks
