"""Migrations: plain SQL files, applied once, in order, each in a transaction of its own."""

import hashlib
import re
from importlib.resources import files

import asyncpg

_LOCK = "SELECT pg_advisory_lock(hashtext('redpacket migrate'))"
_TABLE = """
CREATE TABLE IF NOT EXISTS migration (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The database and the files of this version do not go together; the message says which file."""


def _read_migrations() -> dict[str, str]:
    folder = files("ledger") / "migrations"
    names = sorted(file.name for file in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", file.name))
    return {name: (folder / name).read_text() for name in names}


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Applies what is not applied yet; the names applied. One at a time for a database. Raises MigrationError."""
    await connection.execute(_LOCK)
    await connection.execute(_TABLE)
    applied = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migration")}
    migrations = _read_migrations()
    if newer := applied.keys() - migrations.keys():
        raise MigrationError(f"the database has migrations of a newer version: {', '.join(sorted(newer))}")
    done = []
    for name, sql in migrations.items():
        digest = hashlib.sha256(sql.encode()).hexdigest()
        if name in applied:
            if applied[name] != digest:
                raise MigrationError(f"{name} was applied with another text: a migration is never changed")
            continue
        async with connection.transaction():
            await connection.execute(sql)
            await connection.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", name, digest)
        done.append(name)
    return done
