"""The tables of every version that has landed come to be those of a new installation, with what is in them."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

import asyncpg
import pytest

from ledger import migrate
from ledger.install import install
from ledger.migrate import MigrationError, known_texts, read_migrations
from redpacket.stack.local import LocalServers
from tests.deployment import Deployment, create_database, database_url
from tests.versions import EARLIER, LANDED, Version, migrations_of

DAY, NEXT_DAY = date(2026, 1, 1), date(2026, 1, 2)

# What the tables are, without the order of their columns and the names of indexes. A partition has the comments of the
# moment at which it was made.
CATALOG = """
SELECT 'column', table_name, concat_ws(' ', column_name, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, pg_get_constraintdef(oid) || ' ' || convalidated
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
UNION ALL SELECT 'index', tablename, regexp_replace(indexdef, 'INDEX \\S+ ON', 'INDEX ON') FROM pg_indexes
    WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'comment', objoid::regclass::text, objsubid::bool::text || ' ' || description FROM pg_description
    WHERE classoid = 'pg_class'::regclass AND objoid IN (
        SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND NOT relispartition
    )
ORDER BY 1, 2, 3
"""


@asynccontextmanager
async def empty_database(servers: LocalServers) -> AsyncIterator[asyncpg.Connection]:
    name = f"test_{secrets.token_hex(6)}"
    await create_database(servers.postgres.superuser_url, name)
    connection = await asyncpg.connect(database_url(servers.postgres_url, name))
    try:
        yield connection
    finally:
        await connection.close()


async def _install(connection: asyncpg.Connection, texts: dict[str, str]) -> None:
    """As the version of these texts did it."""
    await connection.execute(migrate._TABLE)
    for name, sql in texts.items():
        async with connection.transaction():
            await connection.execute(sql)
            digest = hashlib.sha256(sql.encode()).hexdigest()
            await connection.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", name, digest)


async def _fill(connection: asyncpg.Connection) -> None:
    """A day with a packet, of which two shares of three are claimed."""
    await connection.execute("SELECT ensure_day($1)", DAY)
    await connection.execute("INSERT INTO shard (shard) VALUES (0)")
    await connection.execute(
        "INSERT INTO packet (day, id, shard, owner, kind, total_minor, shares, cap_minor, min_minor, currency,"
        " greeting, commitment, opened_at, expires_at, claimed_shares, claimed_minor)"
        " VALUES ($1, 'p', 0, 'a', 'lucky', 9, 3, 9, 1, 'CNY', '', '', now(), now(), 2, 2)",
        DAY,
    )
    claim = "INSERT INTO claim VALUES ($1, 'p', $2, $3, $2, 1, now())"
    await connection.executemany(claim, [(DAY, 1, "b"), (DAY, 2, "c")])


async def _catalog(connection: asyncpg.Connection) -> list[tuple[str, ...]]:
    return [tuple(row) for row in await connection.fetch(CATALOG)]


@pytest.fixture(scope="module")
async def new_catalog(servers: LocalServers) -> list[tuple[str, ...]]:
    async with empty_database(servers) as new:
        await migrate.migrate(new)
        for day in (DAY, NEXT_DAY):
            await new.execute("SELECT ensure_day($1)", day)
        return await _catalog(new)


@pytest.mark.parametrize("version", [*EARLIER, *LANDED], ids=lambda version: version.name)
async def test_the_tables_of_every_version_become_those_of_a_new_installation(
    servers: LocalServers, new_catalog: list[tuple[str, ...]], version: Version
) -> None:
    texts = migrations_of(version)
    async with empty_database(servers) as old:
        await _install(old, texts)
        await _fill(old)
        if "0006_audit.sql" in texts:
            await old.execute("INSERT INTO audit_mark VALUES (0, 0, sha256(''), 0, 0, 0)")
        assert await migrate.migrate(old) == [name for name in read_migrations() if name not in texts]
        assert await migrate.migrate(old) == [], "twice is once"
        await old.execute("SELECT ensure_day($1)", NEXT_DAY)
        assert await _catalog(old) == new_catalog

        assert await old.fetchval("SELECT last_sequence FROM packet") in ((2,) if version.name == "1cd025b" else (0,))
        assert [tuple(row) for row in await old.fetch("SELECT id, day FROM ending")] == [("p", DAY)]
        assert await old.fetchval("SELECT array_agg(day ORDER BY day) FROM ledger_day") == [DAY, NEXT_DAY]
        # The mark of an earlier text was of something else.
        marks = 1 if version.name in ("540cb7b", "0.1.0") else 0
        assert await old.fetchval("SELECT count(*) FROM audit_mark") == marks


async def test_a_migration_that_has_landed_never_changes() -> None:
    present = {name: hashlib.sha256(sql.encode()).hexdigest() for name, sql in read_migrations().items()}
    assert {name: texts[-1] for name, texts in known_texts().items()} == present, "a new one gets a line in texts.txt"
    for version in LANDED:
        for name, sql in migrations_of(version).items():
            assert hashlib.sha256(sql.encode()).hexdigest() == present[name], f"{name} of {version.name}"
    for version in EARLIER:
        for name, sql in migrations_of(version).items():
            assert hashlib.sha256(sql.encode()).hexdigest() in known_texts()[name], f"{name} of {version.name}"


async def test_a_text_that_no_version_had_is_refused(servers: LocalServers) -> None:
    async with empty_database(servers) as connection:
        await migrate.migrate(connection)
        await connection.execute("UPDATE migration SET sha256 = 'x' WHERE name = '0003_dead_letters.sql'")
        with pytest.raises(MigrationError, match=r"0003_dead_letters.sql was applied with another text"):
            await migrate.migrate(connection)


async def test_a_version_goes_on_on_the_tables_of_the_next_one(deployment: Deployment) -> None:
    await deployment.rows("INSERT INTO migration (name, sha256) VALUES ('9999_later.sql', 'x')")
    lines: list[str] = []
    installed = await install(deployment.settings, lines.append)
    assert installed.topic == deployment.topic
    assert lines == ["the tables are of a newer version, and stay so: 9999_later.sql"]
    async with deployment.ledger():
        pass  # Its workers start, and open their shards.
    await deployment.rows("UPDATE migration SET name = '0001_of_a_branch.sql' WHERE name = '9999_later.sql'")
    with pytest.raises(MigrationError, match="no earlier and no later one"):
        await install(deployment.settings, lines.append)


async def test_a_migration_gives_up_its_place_in_the_queue_for_a_lock_and_says_why(
    servers: LocalServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(migrate, "_AGAIN_S", 0.05)
    first, *others = read_migrations()
    async with empty_database(servers) as connection:
        await _install(connection, {first: read_migrations()[first]})
        reader = await asyncpg.connect(
            servers.postgres_url, database=await connection.fetchval("SELECT current_database()")
        )
        try:
            async with reader.transaction():
                await reader.execute("SELECT count(*) FROM packet")
                with pytest.raises(MigrationError, match=r"0002_close.sql did not get its locks in 10 tries"):
                    await migrate.migrate(connection)
        finally:
            await reader.close()
        assert await migrate.migrate(connection) == others
