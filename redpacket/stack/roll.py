"""`redpacket roll`: the workers of one kind restarted one after the other, while the others go on serving."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Literal

from redpacket.settings import read_settings
from redpacket.stack.error import StackError
from redpacket.stack.server import Say
from redpacket.stack.state import ChildState, read_stack
from redpacket.stack.workers import WORKER_TIMEOUT_S, stop_s

Kind = Literal["api", "ledger"]

# A busy machine, and the transaction that a ledger worker is in.
_STOP_MARGIN_S = 30.0
_LOOK_S = 0.1


def roll_workers(data: Path, kind: Kind, say: Say) -> None:
    """Restart the workers of `kind` of the stack on `data`; `say` is given a line for each.

    All that is done to a worker is SIGTERM: the stack itself starts it again, also when this is interrupted. Raises
    StackError, or SettingsError where the stack is of another version: no stack runs, a worker is not ready when its
    turn comes, or does not stop, or does not come back in time. What has been rolled until then stays so.
    """
    names = [worker.name for worker in _ready_workers(data, kind, "nothing is rolled")]
    for name in names:
        workers = _ready_workers(data, kind, f"the roll stops before {name}")
        _restart(data, next(worker for worker in workers if worker.name == name), say)


def _ready_workers(data: Path, kind: Kind, otherwise: str) -> list[ChildState]:
    """All of the kind. One that is away already is no time to take away another."""
    workers = [child for child in read_stack(data).children if child.name.startswith(f"{kind}-")]
    if not workers:
        raise StackError(f"the stack is still being started: {otherwise}")
    for worker in workers:
        if worker.state != "ready":
            raise StackError(f"{worker.name} is not ready ({worker.state}): {otherwise}")
    return workers


def _restart(data: Path, worker: ChildState, say: Say) -> None:
    name, pid = worker.name, worker.pid
    assert pid is not None, "one that is ready has a process"
    limit_s = stop_s(name, read_settings(read_stack(data).environ)) + _STOP_MARGIN_S
    began = time.monotonic()
    try:
        os.kill(pid, SIGTERM)
    except ProcessLookupError:
        pass  # it has ended by itself, and is started again all the same
    except PermissionError:
        raise StackError(f"{name} (process {pid}) belongs to another user") from None
    _wait(data, name, lambda now: now.pid != pid, limit_s, f"(process {pid}) has not stopped")
    now = _wait(
        data,
        name,
        lambda now: now.state == "ready" and now.pid not in (None, pid) and now.restarts > worker.restarts,
        WORKER_TIMEOUT_S,
        "is not back",
    )
    say(f"{name} rolled ({time.monotonic() - began:.1f} s; process {pid} is now {now.pid})")


def _wait(data: Path, name: str, holds: Callable[[ChildState], bool], limit_s: float, else_what: str) -> ChildState:
    """The worker once `holds` is true of it."""
    deadline = time.monotonic() + limit_s
    while True:
        now = next((child for child in read_stack(data).children if child.name == name), None)
        if now is not None and holds(now):
            return now
        if time.monotonic() > deadline:
            log = data / "logs" / f"{name}.log"
            raise StackError(f"{name} {else_what} after {limit_s:g} s; the roll stops there ({log} may tell why)")
        time.sleep(_LOOK_S)
