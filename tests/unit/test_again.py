"""What is done again and again: a part that is away does not end it, a cancellation does, a bug does."""

import asyncio

import pytest

from ledger.owner.again import again_and_again
from redpacket.shard.client import ShardClosedError

LONG_S = 60.0


async def test_a_part_that_is_away_is_told_and_it_goes_on() -> None:
    errors: list[Exception] = []
    done = asyncio.Event()

    async def do() -> None:
        if len(errors) < 3:
            raise ShardClosedError("closed")
        done.set()

    task = asyncio.create_task(again_and_again(do, 0, errors.append))
    async with asyncio.timeout(LONG_S):
        await done.wait()
        task.cancel()
        await asyncio.wait([task])
    assert len(errors) == 3


async def test_it_ends_when_cancelled_though_a_driver_raises_something_else_instead() -> None:
    started = asyncio.Event()
    errors: list[Exception] = []

    async def do() -> None:
        started.set()
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            raise OSError("the connection was cut") from None

    task = asyncio.create_task(again_and_again(do, 0, errors.append))
    async with asyncio.timeout(LONG_S / 2):
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
    assert len(errors) == 1


async def test_a_bug_ends_it() -> None:
    async def do() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await again_and_again(do, 0, lambda _: None)
