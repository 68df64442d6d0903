"""A wallet as the ledger has it."""

from redpacket.books.database import Books
from redpacket.ids import shard_of, unix_ms
from redpacket.settings import Settings
from service.words import Wallet, time_of


class Wallets:
    def __init__(self, settings: Settings, books: Books) -> None:
        self._settings = settings
        self._books = books

    async def see_wallet(self, owner: str) -> Wallet:
        """All zero where nothing has moved yet. Raises BooksUnavailableError."""
        (row,) = await self._books.rows("wallet", shard_of(owner, self._settings.shards), owner)
        return Wallet(
            owner, self._settings.currency, row["available_minor"], row["held_minor"], time_of(unix_ms(row["as_of"]))
        )
