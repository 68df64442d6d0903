"""What moved a wallet, read from the days on which it moved instead of from all days of the ledger."""

from collections.abc import Collection
from datetime import date, datetime

import asyncpg
from msgspec import Struct

from redpacket.books.database import Books

# Of sealed days, by one statement, which locks each day's partition and its indexes.
_DAYS_MAX = 16
_NO_VERSION = 2**63 - 1


class WalletEntries(Struct, frozen=True):
    """`rows` of `account_entries`, in the order of their versions; `as_of`: when all of it was so, at the latest."""

    as_of: datetime
    rows: list[asyncpg.Record]


async def wallet_entries(books: Books, shard: int, owner: str, after: int, limit: int) -> WalletEntries:
    """At most `limit` postings of the wallet above its version `after`. Raises BooksUnavailableError.

    Versions have no gap, so what is missing shows. `account_day` is derived: where it does not tell of a day, one of
    which something was settled when it was already sealed, every day is looked at.
    """
    (days,) = await books.rows("wallet_days", shard, owner, after, _DAYS_MAX, False)
    as_of, found = days["as_of"], list[asyncpg.Record]()
    while days["account"] is not None and after < days["version"] and len(found) < limit:
        whole = await _read_days(books, days, after, limit - len(found))
        if not whole:
            (days,) = await books.rows("wallet_days", shard, owner, after, _DAYS_MAX, True)
            whole = await _look_everywhere(books, days, after, limit - len(found))
        if not whole:
            break
        found += whole
        after = whole[-1]["version"]
        if after < days["version"] and len(found) < limit:
            (days,) = await books.rows("wallet_days", shard, owner, after, _DAYS_MAX, False)
    return WalletEntries(as_of, found)


async def _look_everywhere(books: Books, days: asyncpg.Record, after: int, limit: int) -> list[asyncpg.Record]:
    """Some days at a time, until one has the version behind `after`; the newest first."""
    newest_first = sorted(days["days"], reverse=True)
    for start in range(0, len(newest_first), _DAYS_MAX):
        some = newest_first[start : start + _DAYS_MAX]
        if whole := await _read(books, days["account"], after, _NO_VERSION, limit, some):
            return whole
    return []


async def _read_days(books: Books, days: asyncpg.Record, after: int, limit: int) -> list[asyncpg.Record]:
    return await _read(books, days["account"], after, days["below"] or _NO_VERSION, limit, days["days"])


async def _read(
    books: Books, account: int, after: int, below: int, limit: int, days: Collection[date]
) -> list[asyncpg.Record]:
    """What follows version `after` without a gap."""
    rows = await books.rows("account_entries", account, after, below, limit, days=days)
    return [row for place, row in enumerate(rows, after + 1) if row["version"] == place]
