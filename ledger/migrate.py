"""Migrations: plain SQL files, applied once, in order, each in a transaction of its own."""

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
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
# A change of tables that waits for a lock makes everybody behind it wait: it gives up soon, and comes again.
_LOCK_TIMEOUT_MS = 2_000
_TRIES = 10
_AGAIN_S = 2.0


class MigrationError(Exception):
    """The database and the files of this version do not go together; the message says which file."""


def read_migrations() -> dict[str, str]:
    """The text of each, by its file's name, in their order."""
    folder = files("ledger") / "migrations"
    names = sorted(file.name for file in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", file.name))
    return {name: (folder / name).read_text() for name in names}


def known_texts() -> dict[str, list[str]]:
    """By file the SHA-256 of every text that it has had, the present one last."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for line in (files("ledger") / "migrations" / "texts.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, digest, _ = line.split()
            texts[name].append(digest)
    return dict(texts)


async def migrate(connection: asyncpg.Connection, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """Applies what is not applied yet; the names applied. One at a time for a database. Raises MigrationError."""
    await connection.execute(_LOCK)
    await connection.execute(_TABLE)
    applied = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migration")}
    migrations = read_migrations()
    _check_applied(applied, migrations)
    if newer := sorted(applied.keys() - migrations.keys()):
        # A roll-back: a version runs on the tables of the next.
        say(f"the tables are of a newer version, and stay so: {', '.join(newer)}")
    done = []
    for name, sql in migrations.items():
        if name not in applied:
            await _apply(connection, name, sql)
            done.append(name)
    return done


def _check_applied(applied: dict[str, str], migrations: dict[str, str]) -> None:
    known, newest = known_texts(), max(migrations)
    for name, digest in applied.items():
        if name not in migrations:
            if name < newest:
                raise MigrationError(
                    f"{name} was applied, and this version, whose newest is {newest}, does not have it: this database"
                    " was migrated by a version that is no earlier and no later one of this"
                )
        elif digest not in (_digest(migrations[name]), *known.get(name, ())):
            raise MigrationError(f"{name} was applied with another text: a migration is never changed")


async def _apply(connection: asyncpg.Connection, name: str, sql: str) -> None:
    for left in reversed(range(_TRIES)):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
                await connection.execute(sql)
                await connection.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", name, _digest(sql))
            return
        except asyncpg.LockNotAvailableError as error:
            if not left:
                raise MigrationError(
                    f"{name} did not get its locks in {_TRIES} tries: somebody reads or writes these tables in a long"
                    " transaction (pg_stat_activity says who). Nothing of it was applied: run it again"
                ) from error
        await asyncio.sleep(_AGAIN_S)


def _digest(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
