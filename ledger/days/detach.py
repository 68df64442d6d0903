"""Detaches old days, one after the other, each in one transaction: whenever it ends, a day is detached or it is not."""

import asyncio
from collections.abc import Callable
from datetime import date

import asyncpg

from ledger.days.read import QUERIES, Day, connected, read_days
from redpacket.settings import Settings

# Whoever waits for the locks makes all others wait, for 0.2 s; so he gives up, and they go on until he comes again.
_TRIES = 40
_AGAIN_S = 0.5
# All who read and write forget their plans each time.
_BETWEEN_DAYS_S = 0.05


class DaysError(Exception):
    """A day could not be detached; the message says which and why."""


async def detach_days(settings: Settings, before: date, say: Callable[[str], None]) -> list[str]:
    """Detaches every day before `before` that may be. Why others may not, a sentence each.

    Raises DaysError, and what asyncpg raises: the days before that one are detached by then.
    """
    async with connected(settings) as connection:
        days = [day for day in await read_days(connection, before) if day.detached_at is None]
        left = [day for day in days if not await _detach(connection, day, say)]
    return _reasons(left)


async def _detach(connection: asyncpg.Connection, day: Day, say: Callable[[str], None]) -> bool:
    if not day.old or day.sealed_at is None:
        return False
    for tries_left in reversed(range(_TRIES)):
        try:
            await _bound(connection, day.day)
            done = bool(await connection.fetchval(QUERIES["detach_day"], day.day))
            break
        except asyncpg.LockNotAvailableError as error:
            if not tries_left:
                raise DaysError(
                    f"{day.day} did not get its locks in {_TRIES} tries: somebody reads or writes the whole ledger in a"
                    " long transaction, as an audit or a backup does (pg_stat_activity says who). Nothing of it was"
                    " changed, the days before it are detached: run it again"
                ) from error
        await asyncio.sleep(_AGAIN_S)
    if done:
        say(f"{day.day} is detached")
        await asyncio.sleep(_BETWEEN_DAYS_S)
    return done


async def _bound(connection: asyncpg.Connection, day: date) -> None:
    """Says in a CHECK what day the rows of its partitions have, and lets Postgres look through them while others read:
    else it would do that while it moves them, and nobody else would do anything."""
    for parent in ("packet", "claim", "posting"):
        part = f"{parent}_{day:%Y_%m_%d}"
        bounded = await connection.fetchval(QUERIES["is_bounded"], part)
        if bounded is None:
            check = f"CHECK (day >= '{day}' AND day < date '{day}' + 1)"
            await connection.execute(f"ALTER TABLE {part} ADD CONSTRAINT of_day {check} NOT VALID")
        if not bounded:
            await connection.execute(f"ALTER TABLE {part} VALIDATE CONSTRAINT of_day")


def _reasons(left: list[Day]) -> list[str]:
    reasons = [
        f"{day.day} is not sealed: a packet of it is open, or something of it was settled a short while ago"
        for day in left
        if day.old
    ]
    young = [day.day for day in left if not day.old]
    if young:
        which = f"{young[0]} is" if len(young) == 1 else f"{young[0]} to {young[-1]} are"
        reasons.append(f"{which} too young: a day is detached once it is over for 32 days")
    return reasons
