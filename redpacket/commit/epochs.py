"""Which epochs the ledger has fenced, read all the time: a Redis that is open under a lower one is not believed.

Here every worker asks what to believe; `ShutEpochs` (ledger/owner/shut.py) has an owner open a shard anew, and `Fences`
(ledger/fenced.py) tells what was ignored without an opening to explain it.
"""

import asyncio
import logging

from redpacket.books.database import Books, BooksUnavailableError
from redpacket.limits import EPOCH_CONNECTIONS
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient

logger = logging.getLogger(__name__)

# So long a worker may believe a Redis that was left behind, where it has not asked the new one itself.
_READ_AGAIN_S = 0.5


class FencedEpochs:
    """Tells the client of each shard's highest Fence, over a connection of its own: however many readers wait for the
    others, it is not late. Close it with `aclose`."""

    def __init__(self, client: ShardClient, settings: Settings) -> None:
        self._client = client
        self._books = Books(settings, EPOCH_CONNECTIONS)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """With one reading made: who starts knows all that was fenced before. Raises BooksUnavailableError."""
        await self._books.start()
        await self._read()
        self._task = asyncio.create_task(self._keep_reading())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._books.aclose()

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(_READ_AGAIN_S)
            try:
                await self._read()
            except BooksUnavailableError:
                pass  # what is known stands; without Postgres nothing is opened, and a link cut here alone delays this
            except Exception:
                logger.exception("reading the epochs that are fenced")

    async def _read(self) -> None:
        for row in await self._books.rows("epochs_fenced"):
            self._client.learn(row["shard"], row["epoch_fenced"])
