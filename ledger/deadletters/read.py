"""Reads dead letters."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ledger.deadletters.letter import Letter, LetterError, LetterName
from redpacket.settings import Settings
from redpacket.sql import read_queries

QUERIES = read_queries("ledger.deadletters")

_CONNECT_TIMEOUT_S = 10.0


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        settings.postgres_url, timeout=_CONNECT_TIMEOUT_S, command_timeout=_CONNECT_TIMEOUT_S
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def list_letters(settings: Settings, *, decided: bool) -> list[Letter]:
    """In the order in which they were set aside; with `decided` also those that a person has decided about."""
    async with connected(settings) as connection:
        return [_letter(row) for row in await connection.fetch(QUERIES["letters"], decided)]


async def find_letter(settings: Settings, name: LetterName) -> Letter:
    """Raises LetterError."""
    async with connected(settings) as connection:
        return await read_letter(connection, "letter", name)


async def read_letter(connection: asyncpg.Connection, query: str, name: LetterName) -> Letter:
    """Raises LetterError."""
    row = await connection.fetchrow(QUERIES[query], name.shard, name.kafka_offset, name.item)
    if row is None:
        raise LetterError(f"there is no dead letter {name}: `redpacket deadletters list --all` lists them")
    return _letter(row)


def _letter(row: Any) -> Letter:
    return Letter(
        LetterName(row["shard"], row["kafka_offset"], row["item"]),
        row["subject"],
        row["reason"],
        row["event"],
        row["packed"],
        row["at_ms"],
        row["at"],
        row["decision"] or "",
        row["decided_at"],
    )
