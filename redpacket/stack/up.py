"""`redpacket up`: the whole system in the foreground, until a signal ends it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from redpacket.ops.signals import catch_stop_signals
from redpacket.stack.server import Say
from redpacket.stack.system import System
from redpacket.stack.workers import COMMAND, Workers


async def run_up(
    data: Path,
    port: int,
    api: int,
    ledger: int,
    say: Say,
    on_ready: Callable[[], None] = lambda: None,
    *,
    command: Sequence[str] = COMMAND,
    redis_binary: str | None = None,
    host: str = "127.0.0.1",
) -> None:
    """Run the stack on `data` until SIGTERM, SIGINT or SIGHUP, then stop it, in bounded time.

    `say` is given a line for each step, in the end one that begins `ready http://`; then `on_ready` is called.
    `command` runs `migrate`, `ledger` and `api`. Raises StackError, SettingsError, TooFewFilesError or OSError, with
    everything stopped, where something keeps the stack from running.
    """
    system = System(data, port, Workers(api, ledger, command), say, on_ready, redis_binary, host)
    running = asyncio.create_task(system.run())
    asked = False

    def ask_to_stop() -> None:
        nonlocal asked
        if not asked:
            asked = True
            running.cancel()
            say("stopping")
        else:  # another cancel would cut the orderly stop short
            say("already stopping: what is under way is finished first")

    catch_stop_signals(ask_to_stop)
    try:
        await running
    except asyncio.CancelledError:
        if not asked:
            raise
    say("stopped")
