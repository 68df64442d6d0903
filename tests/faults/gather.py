"""All that the ledger and the log hold, as evidence."""

import asyncpg
import msgspec

from loadtest.auditor.evidence import Evidence, ShardLog, read_books
from tests.faults.replaced import read_log
from tests.system import System


async def gather_evidence(system: System) -> Evidence:
    """One reading of the ledger, and the log as it was just after it."""
    connection = await asyncpg.connect(system.settings.postgres_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            shards = await connection.fetch("SELECT next_offset, chain FROM shard ORDER BY shard")
            links = await connection.fetch("SELECT shard, chain FROM record ORDER BY shard, kafka_offset")
            topic = await connection.fetchval("SELECT topic FROM deployment")
            books = await read_books(connection)
    finally:
        await connection.close()
    log = await read_log(system.settings, topic)
    chains: dict[int, list[bytes]] = {}
    for row in links:
        chains.setdefault(row["shard"], []).append(row["chain"])
    logs = (
        # A packet may have expired since the ledger was read.
        ShardLog(
            row["next_offset"], row["chain"], tuple(chains.get(shard, ())), tuple(log[shard][: row["next_offset"]])
        )
        for shard, row in enumerate(shards)
    )
    return msgspec.structs.replace(books, shards=tuple(logs))
