"""What moved a wallet, entry by entry, in the order in which the ledger has settled it."""

from msgspec import UNSET

from redpacket.books.database import Books
from redpacket.books.entries import wallet_entries
from redpacket.ids import posting_id, shard_of, unix_ms
from redpacket.settings import Settings
from service.words import Entry, Statement, time_of


class Statements:
    def __init__(self, settings: Settings, books: Books) -> None:
        self._settings = settings
        self._books = books

    async def list_entries(self, owner: str, after: int, limit: int) -> Statement:
        """At most `limit` entries of the owner's wallet, oldest first, above its version `after` (0: from the first).

        A version counts the postings of the wallet without a gap, so no page misses one. Raises BooksUnavailableError.
        """
        shard = shard_of(owner, self._settings.shards)
        # One more than asked for, to know whether there is one.
        read = await wallet_entries(self._books, shard, owner, after, limit + 1)
        entries = [
            Entry(
                id=posting_id(row["shard"], row["kafka_offset"], row["item"]),
                kind=row["kind"],
                amount=row["amount_minor"],
                balance_after=row["balance_minor"],
                operation=row["operation"],
                at=time_of(unix_ms(row["at"])),
                settled_at=time_of(unix_ms(row["settled_at"])) if row["settled_at"] else UNSET,
            )
            for row in read.rows[:limit]
        ]
        next = str(read.rows[limit - 1]["version"]) if len(read.rows) > limit else None
        return Statement(self._settings.currency, entries, next, time_of(unix_ms(read.as_of)))
