"""Installs a deployment, or finds it there: the schema, its shards, its topic, and what may never change."""

import secrets
from collections.abc import Callable
from contextlib import aclosing

import asyncpg
from msgspec.structs import astuple

from ledger.migrate import migrate
from redpacket.books.database import Books
from redpacket.books.deployment import Deployment, DeploymentError, check_deployment, describe_deployment, read_keys
from redpacket.books.locks import lock_shortage
from redpacket.log.topic import cluster_id, create_topic
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.fence import fence_state
from redpacket.shard.mark import redis_name

_CONNECT_TIMEOUT_S = 10.0


async def install(settings: Settings, say: Callable[[str], None], *, old_redis_is_dead: bool = False) -> Deployment:
    """Safe to run again, and by two at once. `old_redis_is_dead`: the Redis of the settings may be an empty one, in
    place of one that nobody knows. Raises MigrationError, DeploymentError, LogUnavailableError, OSError,
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
        if await connection.fetchval("SELECT count(*) FROM redis") == 0:
            # A deployment that was installed before its Redis had a name may have workers on another one.
            if not old_redis_is_dead:
                await _check_fences(connection, settings)
            await connection.execute(
                "INSERT INTO redis (generation, name) VALUES (1, $1) ON CONFLICT DO NOTHING",
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


async def _check_fences(connection: asyncpg.Connection, settings: Settings) -> None:
    """Raises DeploymentError where the Redis of the settings is not the one in which the shards were opened."""
    opened = await connection.fetch("SELECT shard, epoch_fenced FROM shard WHERE epoch_fenced > 0")
    if not opened:
        return
    async with aclosing(ShardClient(settings)) as client:
        try:
            await client.load_library()
            epochs = {row["shard"]: (await fence_state(client, row["shard"])).epoch for row in opened}
        except (ShardUnreachableError, ShardClosedError) as error:
            raise DeploymentError(f"{_UNKNOWN_REDIS.format(redis_name(settings.redis_url))}: {error}") from None
    # Read after the fences: an opening takes its number before it closes Redis under it.
    taken = {row["shard"]: row["epoch_taken"] for row in await connection.fetch("SELECT shard, epoch_taken FROM shard")}
    if not all(row["epoch_fenced"] <= epochs[row["shard"]] <= taken[row["shard"]] for row in opened):
        raise DeploymentError(_UNKNOWN_REDIS.format(redis_name(settings.redis_url)))


_UNKNOWN_REDIS = (
    "the tables are upgraded, but the Redis at {} is not kept as this deployment's, since it is not seen to be the one"
    " in which its shards were opened. Set REDPACKET_REDIS_URL to that one, start it if it is away, and run `redpacket"
    " migrate` again; where it was lost and this one is empty, let a ledger worker of the old version open it first"
)


async def _insert(connection: asyncpg.Connection, deployment: Deployment) -> None:
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO deployment (shards, currency, id_key_fingerprint, split_key_fingerprint, kafka_cluster_id,"
            " topic) VALUES ($1, $2, $3, $4, $5, $6)",
            *astuple(deployment),
        )
        await connection.execute("INSERT INTO shard (shard) SELECT generate_series(0, $1 - 1)", deployment.shards)
