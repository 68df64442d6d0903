"""How a client of aiokafka is stopped: it waits for brokers that are away, and lets its own cancellations out."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


async def stop_within(timeout_s: float, stop: Coroutine[Any, Any, None]) -> None:
    """Runs `stop` to its end or for so long. What it leaves behind ends with the process.

    In a task of its own: what is cancelled inside it (its fetches, while a broker is away) comes out of it as if the
    caller had been cancelled, and a deadline that cancels it is swallowed there.
    """
    stopping = asyncio.create_task(stop)
    try:
        await asyncio.wait([stopping], timeout=timeout_s)
    finally:
        stopping.cancel()
        stopping.add_done_callback(_tell)


def _tell(stopping: asyncio.Task[None]) -> None:
    if stopping.cancelled():
        logger.warning("a client of Kafka was not stopped in time, or by half: its session ends by itself")
    elif error := stopping.exception():
        logger.warning("a client of Kafka did not stop: %r", error)
