"""`redpacket redis replace`: from now on the deployment's Redis is another one.

Each step leaves what is safe, whoever dies behind it. Until the transaction that names the new Redis has committed, the
old one is the deployment's: its owners open anew there what was closed. From then on they get no number to open under,
and nothing is open anywhere until an owner of the new one comes.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import asyncpg
from msgspec.structs import replace

from redpacket.books.database import Books
from redpacket.books.deployment import Deployment, check_deployment, read_keys
from redpacket.commit.place import check_redis, deployments_redis
from redpacket.log.topic import cluster_id
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient, ShardClosedError, ShardUnreachableError
from redpacket.shard.fence import close_shard, fence_state
from redpacket.shard.mark import Mark, leave_mark, read_mark, redis_name
from redpacket.sql import read_queries

_QUERIES = read_queries("ledger.owner")
# An owner of the old one opens anew what this has closed, some times a second; so does another replacement.
_TRIES = 20
_LOCK_TIMEOUT = "10s"
_WHERE_IT_IS_DEAD = "Where it is gone for ever, with its memory, so that nothing can reach it again, say --old-is-dead"


class ReplaceError(Exception):
    """The Redis was not replaced; the message says why, and what to do."""


async def replace_redis(settings: Settings, to_url: str, *, old_is_dead: bool, say: Callable[[str], None]) -> None:
    """Makes the Redis at `to_url` the deployment's, in place of the one of `settings`, which is closed first, unless
    `old_is_dead`. Where it is that already nothing is done.

    Raises ReplaceError, DeploymentError, SettingsError, BooksUnavailableError and what asyncpg raises.
    """
    async with AsyncExitStack() as resources:
        deployment, before = await _known(settings)
        new = await resources.enter_async_context(_client(replace(settings, redis_url=to_url)))
        name = redis_name(to_url)
        held = await _held_mark(new, name, before)
        if held == before or (held is None and name == before.name):
            say(f"{name} is this deployment's Redis already (generation {before.generation}): nothing is to be done")
            return
        old = None
        if not old_is_dead:
            old = await resources.enter_async_context(_client(settings))
            await check_redis(old, settings, before)
            await _load_library(old)
        timeout_s = settings.postgres_timeout_ms / 1000
        connection = await asyncpg.connect(settings.postgres_url, timeout=timeout_s, command_timeout=10 * timeout_s)
        resources.callback(connection.terminate)
        # One that another run has left there, or a Postgres that was restored since, is the one to name.
        known = held is not None and held.generation > before.generation
        after = held if held and known else Mark(before.deployment, before.generation + 1, name)
        for _ in range(_TRIES):
            taken = await _take_and_close(connection, old, deployment.shards)
            if taken is None:
                continue
            # Before it is named, so that nothing is left to be done behind the COMMIT. A mark of which Postgres knows
            # nothing is believed by nobody.
            await _mark(new, after)
            if await _name_it(connection, taken, before, after):
                say(f"{after.name} is this deployment's Redis now (generation {after.generation})")
                return
        raise ReplaceError(
            "the owners of the old Redis opened its shards again each time they were closed: nothing is replaced. Stop"
            " the ledger workers, and run it again"
        )


async def _known(settings: Settings) -> tuple[Deployment, Mark]:
    keys, books = read_keys(settings), Books(settings)
    await books.start()
    async with aclosing(books):
        deployment = await check_deployment(books, settings, keys, await cluster_id(settings))
        return deployment, await deployments_redis(books, deployment)


async def _held_mark(new: ShardClient, name: str, before: Mark) -> Mark | None:
    """The mark of the new one. Raises ReplaceError where it must not become the deployment's."""
    try:
        await new.load_library()
        held, keeps_all = await read_mark(new), await new.keeps_all()
    except ShardUnreachableError as error:
        raise ReplaceError(f"the new Redis at {name} does not answer, so nothing is replaced: {error}") from error
    if not keeps_all:
        raise ReplaceError(f"the Redis at {name} may forget keys by itself: its maxmemory-policy must be noeviction")
    if held is not None and held.deployment != before.deployment:
        raise ReplaceError(f"the Redis at {name} belongs to another deployment ({held.deployment})")
    return held


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[ShardClient]:
    async with aclosing(ShardClient(settings)) as client:
        yield client


async def _load_library(old: ShardClient) -> None:
    try:
        await old.load_library()
    except ShardUnreachableError as error:
        raise ReplaceError(
            f"the old Redis does not answer, so nothing is replaced. {_WHERE_IT_IS_DEAD}: {error}"
        ) from error


async def _take_and_close(connection: asyncpg.Connection, old: ShardClient | None, shards: int) -> list[int] | None:
    """A number for each shard, under which the old Redis is closed now; None where an owner was faster with one.

    Closed before the new one is named, and under the last number that was taken: else an owner would open the old one
    anew, and it would stay open.
    """
    everyone = range(shards)
    try:
        seen = [(await fence_state(old, shard)).epoch if old else 0 for shard in everyone]
        rows = await connection.fetch(_QUERIES["take_epochs"], list(everyone), seen)
        taken = [row["epoch_taken"] for row in rows]
        if old and not all([await close_shard(old, shard, taken[shard], "") for shard in everyone]):
            return None
    except (ShardUnreachableError, ShardClosedError) as error:
        raise ReplaceError(
            "the old Redis did not answer for every shard, so nothing is replaced, and its owners open it anew."
            f" {_WHERE_IT_IS_DEAD}: {error}"
        ) from error
    return taken


async def _mark(new: ShardClient, after: Mark) -> None:
    try:
        found = await leave_mark(new, after, over=True)
    except ShardUnreachableError as error:
        raise ReplaceError(
            f"the new Redis at {after.name} does not answer any more, so nothing is replaced, and the owners of the old"
            f" one open it anew: {error}"
        ) from error
    if found != after:
        raise ReplaceError(
            f"somebody else has marked the new Redis meanwhile, as {found.name}, generation {found.generation} of"
            f" {found.deployment}: nothing is replaced by this run. See whether theirs is what you want"
        )


async def _name_it(connection: asyncpg.Connection, taken: Sequence[int], before: Mark, after: Mark) -> bool:
    """False where somebody has taken a number since: he may have opened the old one."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        rows = await connection.fetch(_QUERIES["lock_shards"])
        if await connection.fetchval(_QUERIES["redis_generation"]) != before.generation:
            raise ReplaceError("somebody else has replaced it meanwhile: see whether that is what you want")
        if [row["epoch_taken"] for row in rows] != taken:
            return False
        await connection.execute(_QUERIES["add_redis"], after.generation, after.name)
        await connection.execute(_QUERIES["place_shards"], after.generation)
    return True
