"""SIGTERM and SIGINT as an event: a worker ends in its own order, never in the middle of something."""

import asyncio
import signal


def stop_on_signals() -> asyncio.Event:
    """The event that SIGTERM or SIGINT sets. Call it in the running loop, once."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
