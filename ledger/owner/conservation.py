"""Whether what the packets of a shard have left is what the accounts hold for them: seen all the time, not only in an
audit."""

import logging
from datetime import date

import asyncpg

from redpacket.books.database import Books
from redpacket.ops import metrics

logger = logging.getLogger(__name__)


class Conservation:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def compare(self, shard: int) -> None:
        """Raises BooksUnavailableError."""
        held = await self._read(shard)
        unbalanced_minor = held["left_minor"] - held["escrow_minor"]
        metrics.ESCROW.labels(shard).set(held["escrow_minor"])
        metrics.UNBALANCED.labels(shard).set(unbalanced_minor)
        metrics.LETTERS_WAITING.labels(shard).set(held["letters_waiting"])
        if unbalanced_minor:
            logger.error(
                "shard %d: its open packets have %d left, the accounts hold %d for them: run `redpacket audit`",
                *(shard, held["left_minor"], held["escrow_minor"]),
            )

    async def _read(self, shard: int) -> asyncpg.Record:
        (ending,) = await self._books.rows("ending_days", shard)
        days: list[date] = ending["days"]
        while True:
            (held,) = await self._books.rows("conservation", shard, days=days)
            # A packet may have been sent meanwhile, the first of its day.
            if set(held["days"]) <= set(days):
                return held
            days = held["days"]
