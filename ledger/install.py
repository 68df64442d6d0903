"""Installs a deployment, or finds it there: the schema, its shards, its topic, and what may never change."""

import secrets
from collections.abc import Callable
from contextlib import aclosing

import asyncpg
from msgspec.structs import astuple

from ledger.migrate import migrate
from redpacket.books.database import Books
from redpacket.books.deployment import Deployment, check_deployment, describe_deployment, read_keys
from redpacket.books.locks import lock_shortage
from redpacket.log.topic import cluster_id, create_topic
from redpacket.settings import Settings
from redpacket.shard.mark import redis_name

_CONNECT_TIMEOUT_S = 10.0


async def install(settings: Settings, say: Callable[[str], None]) -> Deployment:
    """Safe to run again, and by two at once. Raises MigrationError, DeploymentError, LogUnavailableError, OSError,
    asyncpg.PostgresError."""
    keys = read_keys(settings)
    cluster = await cluster_id(settings)
    connection = await asyncpg.connect(settings.postgres_url, timeout=_CONNECT_TIMEOUT_S)
    try:
        # Holds a lock until the connection is closed: of two who install at once, one finds all of it there.
        for name in await migrate(connection, say):
            say(f"applied {name}")
        if await connection.fetchval("SELECT count(*) FROM deployment") == 0:
            # The nonce: another installation on the same Kafka can never be taken for this one.
            topic = f"redpacket-{secrets.token_hex(4)}"
            await create_topic(settings, topic)
            await _insert(connection, describe_deployment(settings, keys, cluster, topic))
            say(f"created topic {topic} with {settings.shards} partitions")
        # Also of a deployment that was installed before its Redis had a name.
        await connection.execute(
            "INSERT INTO redis (generation, name) SELECT 1, $1 WHERE NOT EXISTS (SELECT FROM redis)",
            redis_name(settings.redis_url),
        )
    finally:
        await connection.close()
    books = Books(settings)
    await books.start()
    async with aclosing(books):
        installed = await check_deployment(books, settings, keys, cluster)
        if shortage := await lock_shortage(books):
            say(shortage)
        return installed


async def _insert(connection: asyncpg.Connection, deployment: Deployment) -> None:
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO deployment (shards, currency, id_key_fingerprint, split_key_fingerprint, kafka_cluster_id,"
            " topic) VALUES ($1, $2, $3, $4, $5, $6)",
            *astuple(deployment),
        )
        await connection.execute("INSERT INTO shard (shard) SELECT generate_series(0, $1 - 1)", deployment.shards)
