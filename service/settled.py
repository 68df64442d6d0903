"""Whether operations are in the ledger yet: asked for all who wait, in one question at a time."""

from redpacket.books.database import Books
from redpacket.commit.rounds import Gathered


class SettledOperations:
    """Close it with `aclose`."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._asked: Gathered[None, str, bool] = Gathered(self._ask)

    async def aclose(self) -> None:
        await self._asked.aclose()

    async def has(self, identity: str) -> bool:
        """Raises BooksUnavailableError."""
        return await self._asked.join(None, identity)

    async def _ask(self, _: None, identities: list[str]) -> dict[str, bool]:
        rows = await self._books.rows("settled_operations", [bytes.fromhex(identity) for identity in identities])
        settled = {row["identity"].hex() for row in rows}
        return {identity: identity in settled for identity in identities}
