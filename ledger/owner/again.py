"""What an owner does again and again, and what may fail meanwhile because a part is away or a shard is closed."""

import asyncio
from collections.abc import Awaitable, Callable

from ledger.owner.open import AbandonedError
from redpacket.books.database import POSTGRES_FAILURES, BooksUnavailableError
from redpacket.log.producer import LogUnavailableError
from redpacket.shard.client import MemoryFullError, ShardClosedError, ShardUnreachableError

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
