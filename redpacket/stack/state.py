"""What `up` tells the other commands about the stack that it runs: the file stack.json in the data folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from redpacket.stack.child import Child, State
from redpacket.stack.error import NotRunningError, StackError
from redpacket.stack.files import write_whole
from redpacket.stack.lock import lock_holder


class ChildState(Struct, frozen=True):
    name: str
    pid: int | None
    state: State
    restarts: int
    # Of a server its own, of a worker that for its health and metrics.
    port: int | None


class StackState(Struct, frozen=True):
    # Of `up`.
    pid: int
    # Whether everything has been started and has answered.
    ready: bool
    # Where the API is served.
    url: str
    # The settings (REDPACKET_...) with which a command reaches the servers; empty as long as they are being started.
    environ: Mapping[str, str]
    children: list[ChildState]


def child_states(children: Iterable[Child]) -> list[ChildState]:
    """As `ps` lists them: workers first, then servers."""
    states = [ChildState(it.program.name, it.pid, it.state, it.restarts, it.program.port) for it in children]
    return sorted(states, key=lambda it: (_kind(it.name), len(it.name), it.name))


def write_stack(data: Path, state: StackState) -> None:
    """Raises OSError."""
    write_whole(data / "stack.json", msgspec.json.encode(state))


def read_stack(data: Path) -> StackState:
    """The stack that runs on `data`, also while it is being started. Raises NotRunningError; StackError where what it
    has written down cannot be read."""
    holder = lock_holder(data)
    if holder is None:
        raise NotRunningError(f"no stack is running on {data.absolute()}: start one with `redpacket up --data {data}`")
    file = data / "stack.json"
    try:
        state = msgspec.json.decode(file.read_bytes(), type=StackState)
    except FileNotFoundError:
        raise _starting(data, holder) from None
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(
            f"{file}, which the stack of process {holder} has written, cannot be read: {error}; restart the stack"
        ) from None
    # The file outlives its `up`; the lock does not.
    if state.pid != holder:
        raise _starting(data, holder)
    return state


def ready_stack(data: Path) -> StackState:
    """The one that runs on `data`, once all of it has answered. Raises NotRunningError, and StackError."""
    state = read_stack(data)
    if not state.ready:
        raise _starting(data, state.pid)
    return state


def _starting(data: Path, pid: int) -> StackError:
    return StackError(f"the stack on {data.absolute()} (process {pid}) is still starting: wait until it prints `ready`")


def _kind(name: str) -> int:
    order = ("api", "ledger", "redis", "kafka", "postgres")
    return order.index(name.split("-")[0])
