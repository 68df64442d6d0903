"""What an owner does again and again, and what may fail meanwhile because a part is away or a shard is closed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ledger.owner.open import AbandonedError
from redpacket.books.database import POSTGRES_FAILURES, BooksUnavailableError
from redpacket.log.producer import LogUnavailableError
from redpacket.shard.client import MemoryFullError, ShardClosedError, ShardUnreachableError

_TELL_AGAIN_S = 10.0

UNAVAILABLE = (
    AbandonedError,
    BooksUnavailableError,
    LogUnavailableError,
    MemoryFullError,
    ShardClosedError,
    ShardUnreachableError,
    *POSTGRES_FAILURES,
)


async def again_and_again(
    do: Callable[[], Awaitable[None]], pause_s: float, failed: Callable[[Exception], None]
) -> None:
    """Until cancelled. `failed` is told what a part that is away has raised; anything else is a bug, and raised."""
    task = asyncio.current_task()
    assert task is not None
    # A driver that is cancelled in the middle of a call may raise an error of its own instead.
    while not task.cancelling():
        try:
            await do()
        except UNAVAILABLE as error:
            failed(error)
        await asyncio.sleep(pause_s)


def teller(logger: logging.Logger, what: str) -> Callable[[Exception], None]:
    """Logs what fails, not more often than a person reads."""
    told_at_s = 0.0

    def tell(error: Exception) -> None:
        nonlocal told_at_s
        now_s = asyncio.get_running_loop().time()
        if now_s - told_at_s > _TELL_AGAIN_S:
            told_at_s = now_s
            logger.warning("%s: %r", what, error)

    return tell
