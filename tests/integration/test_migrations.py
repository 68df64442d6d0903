"""Migrations on a database that is in use: partitions are there, and rows in them."""

import secrets
from contextlib import aclosing
from datetime import date

import asyncpg
import msgspec
import pytest

from ledger import migrate
from redpacket.books import deployment
from redpacket.books.database import Books
from redpacket.stack.local import LocalServers
from tests.deployment import create_database, database_url
from tests.system import System

DAY = date(2026, 1, 1)


async def test_every_migration_goes_onto_a_ledger_that_is_in_use(
    servers: LocalServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = migrate.read_migrations()
    first, *others = all_of_them
    name = f"test_{secrets.token_hex(6)}"
    await create_database(servers.postgres.superuser_url, name)
    ledger = await asyncpg.connect(database_url(servers.postgres_url, name))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(migrate, "read_migrations", lambda: {first: all_of_them[first]})
            assert await migrate.migrate(ledger) == [first]
        await ledger.execute("SELECT ensure_day($1)", DAY)
        await ledger.execute("INSERT INTO shard (shard) VALUES (0)")
        packet = "INSERT INTO packet (day, id, shard, owner, kind, total_minor, shares, cap_minor, min_minor, currency,"
        packet += (
            " greeting, commitment, opened_at, expires_at) VALUES ($1, $2, 0, 'a', 'lucky', 9, 3, 9, 1, 'CNY', '', '',"
        )
        packet += " now(), now())"
        await ledger.execute(packet, DAY, "old")
        posting = "INSERT INTO posting VALUES ($1, 0, $2, 0, $3, 'x', 1, $4, 0, 2, $4, 0, 5, now())"
        await ledger.execute(posting, DAY, 1, "topup", 1)
        await ledger.execute("INSERT INTO dead_letter VALUES (0, 1, 0, 'why', 'what')")

        assert await migrate.migrate(ledger) == others
        await ledger.execute("SELECT ensure_day($1)", date(2026, 1, 2))
        for day, version in ((DAY, 2), (date(2026, 1, 2), 3)):
            await ledger.execute(posting, day, version, "refund", version)
            with pytest.raises(asyncpg.CheckViolationError):
                await ledger.execute(posting, day, 9, "nonsense", 9)
        await ledger.execute(packet, date(2026, 1, 2), "new")
        close = "UPDATE packet SET state = 'closed', refunded_minor = 9, over_at = {} WHERE id = $1"
        for id in ("old", "new"):
            with pytest.raises(asyncpg.CheckViolationError):
                await ledger.execute(close.format("NULL"), id)
            await ledger.execute(close.format("now()"), id)
    finally:
        await ledger.close()


async def test_a_version_does_not_start_on_tables_that_are_older_than_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(migrate.read_migrations()) == deployment.NEEDED_MIGRATION, "what the newest migration is for is needed"
    keys = deployment.read_keys(system.settings)
    (row,) = await system.rows("SELECT kafka_cluster_id FROM deployment")
    async with aclosing(Books(system.settings)) as books:
        await books.start()
        installed = await deployment.check_deployment(books, system.settings, keys, row["kafka_cluster_id"])
        assert installed.shards == system.settings.shards
        monkeypatch.setattr(deployment, "NEEDED_MIGRATION", "9999_later.sql")
        with pytest.raises(deployment.DeploymentError, match=r"needs 9999_later.sql: run `redpacket migrate` first"):
            await deployment.check_deployment(books, system.settings, keys, row["kafka_cluster_id"])


async def test_a_worker_on_an_empty_database_says_that_nothing_is_installed(system: System) -> None:
    name = f"test_{secrets.token_hex(6)}"
    await create_database(system.superuser_url, name)
    empty = msgspec.structs.replace(system.settings, postgres_url=database_url(system.settings.postgres_url, name))
    async with aclosing(Books(empty)) as books:
        await books.start()
        with pytest.raises(deployment.DeploymentError, match="nothing is installed in this database"):
            await deployment.check_deployment(books, empty, deployment.read_keys(empty), "any")
