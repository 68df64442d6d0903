"""SIGTERM, SIGINT and SIGHUP mean the same: a process ends in its own order, never in the middle of something."""

import asyncio
import signal
from collections.abc import Callable


def catch_stop_signals(ask_to_stop: Callable[[], None]) -> None:
    """Call it in the running loop: from now on `ask_to_stop` is called at each of these signals, and nothing else.

    SIGHUP says that the terminal is gone. Where it is ignored, as `nohup` has it, it stays so.
    """
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, ask_to_stop)


def stop_signals() -> list[signal.Signals]:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])]


def stop_on_signals() -> asyncio.Event:
    """The event that they set. Call it in the running loop, once."""
    stop = asyncio.Event()
    catch_stop_signals(stop.set)
    return stop
