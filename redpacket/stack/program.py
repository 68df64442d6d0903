"""A program to run as a child, and how a process of it is made: it never outlives its parent."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from signal import SIGKILL, SIGTERM, Signals

from redpacket.stack.error import StackError
from redpacket.stack.logs import Log


class NotAnsweringError(Exception):
    """A child does not do its work yet; the message says what was seen."""


class HopelessError(NotAnsweringError):
    """Nor will it, however long one waits."""


@dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    # Returns once the process of this pid does its work. Raises NotAnsweringError, or takes its time.
    answers: Callable[[int], Awaitable[None]]
    port: int | None = None
    pass_fds: Sequence[int] = ()
    stop_signal: Signals = SIGTERM
    stop_s: float = 5.0
    # What the kernel sends it when this process dies.
    orphan_signal: Signals = SIGKILL
    # Run as another user in the eyes of the program when this process is root's: Postgres refuses root.
    never_root: bool = False


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this installation. -P: not what lies in the folder one stands in."""
    return [sys.executable, "-P", "-m", module, *arguments]


def guarded(argv: Sequence[str], orphan_signal: Signals = SIGKILL, *, never_root: bool = False) -> list[str]:
    """The command that becomes `argv` (same pid) and gets `orphan_signal` when the thread that started it ends."""
    if sys.platform != "linux":
        return list(argv)
    mapped = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if never_root and os.geteuid() == 0 else []
    # This order must hold: a change of credentials (unshare) clears the signal, and only when it is set (setpriv) can
    # the look at the parent (sh) tell that it had not died before.
    alive = f'[ "$PPID" = {os.getpid()} ] && exec "$@"'
    signal_name = orphan_signal.name.removeprefix("SIG")
    return [*mapped, "setpriv", "--pdeathsig", signal_name, "sh", "-c", alive, "sh", *argv]


async def spawn(program: Program, log: Log) -> Process:
    """Start `program` in a session of its own, out of reach of the terminal's Ctrl-C. Raises OSError."""
    argv = guarded(program.argv, program.orphan_signal, never_root=program.never_root)
    return await _start(argv, program.environ, log, stdin=DEVNULL, pass_fds=program.pass_fds)


async def run_once(
    argv: Sequence[str],
    environ: Mapping[str, str],
    log: Log,
    *,
    timeout_s: float,
    stdin: bytes = b"",
    never_root: bool = False,
) -> None:
    """Run `argv` to its end. Raises StackError with the end of its output when it fails or takes over `timeout_s`."""
    what = " ".join(argv[:4])
    try:
        process = await _start(guarded(argv, never_root=never_root), environ, log, stdin=PIPE)
    except OSError as error:
        raise StackError(f"{what} cannot be started: {error}") from None
    try:
        async with asyncio.timeout(timeout_s):
            await process.communicate(stdin)
    except TimeoutError:
        raise StackError(f"{what} was not done after {timeout_s:g} s:\n{log.tail()}") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, SIGKILL)  # with whatever it has started itself
            await process.wait()
    if process.returncode != 0:
        raise StackError(f"{what} ended with status {process.returncode}:\n{log.tail()}")


async def _start(
    argv: Sequence[str], environ: Mapping[str, str], log: Log, *, stdin: int, pass_fds: Sequence[int] = ()
) -> Process:
    with log.open() as output:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=output,
            stderr=STDOUT,
            env=environ,
            pass_fds=pass_fds,
            start_new_session=True,
            umask=0o077,
        )
