"""Ends the sessions of ledger workers that stand still in the middle of a statement, and hold their shards' rows.

Postgres itself ends one that is idle in a transaction (`_NEVER_HOLD` in worker.py). But the driver sends a statement
that is new to a session in two parts, and between them, or within a COPY, Postgres takes the session for an active one,
however long its client is silent. A worker that was stopped there would keep the next owner of its shards from settling
for as long as it stands. (Postgres 17 has a `transaction_timeout`: it cuts slow settlements too, and ends no COPY.)
"""

import logging

import asyncpg

from ledger.owner.again import again_and_again, teller
from redpacket.sql import read_queries

logger = logging.getLogger(__name__)

_QUERIES = read_queries("ledger.owner")
# As _NEVER_HOLD has it.
_SILENT_S = 5.0
_LOOK_AGAIN_S = 2.0


async def keep_ending_standing_sessions(pool: asyncpg.Pool) -> None:
    """Until cancelled. Those of any ledger worker: whoever still is alive finds its connection closed, and begins anew
    from what is settled."""

    async def end() -> None:
        if ended := await pool.fetch(_QUERIES["end_standing_sessions"], _SILENT_S):
            logger.warning("%d sessions of ledger workers stood still in the middle of a statement: ended", len(ended))

    await again_and_again(end, _LOOK_AGAIN_S, teller(logger, "looking for sessions that stand still"))
