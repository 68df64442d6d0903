"""Which epochs are shut: what Redis holds under them contradicted the ledger, or was loaded before a person decided;
and every one below the highest Fence, which a Redis that was left behind may still have open.

The ledger keeps it, in the transaction that sets aside or decides, so that no end of a worker or a command can lose it.
It has an owner open a shard anew; what any worker believes of Redis is in redpacket/commit/epochs.py.
"""

import logging

import asyncpg

from ledger.owner.again import again_and_again, teller
from redpacket.sql import read_queries

logger = logging.getLogger(__name__)

_QUERIES = read_queries("ledger.owner")
_LOOK_AGAIN_S = 0.25


class ShutEpochs:
    """What the ledger last said."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._shut: dict[int, int] = {}

    def is_shut(self, shard: int, epoch: int) -> bool:
        """Whether the shard has to be opened anew though it may be open under `epoch`."""
        return epoch <= self._shut.get(shard, 0)

    async def keep_reading(self) -> None:
        """Until cancelled. Without Postgres nothing is shut: no opening could come to its end."""
        await again_and_again(self._read, _LOOK_AGAIN_S, teller(logger, "reading the epochs that are shut"))

    async def _read(self) -> None:
        rows = await self._pool.fetch(_QUERIES["epochs_shut"])
        self._shut = {row["shard"]: row["epoch_shut"] for row in rows}
