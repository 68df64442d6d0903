"""Which Redis is the deployment's, and the refusal of a process whose settings lead to another one."""

from redpacket.books.database import Books
from redpacket.books.deployment import Deployment, DeploymentError
from redpacket.settings import Settings
from redpacket.shard.client import ShardClient, ShardUnreachableError
from redpacket.shard.mark import Mark, leave_mark, read_mark, redis_name


async def deployments_redis(books: Books, deployment: Deployment) -> Mark:
    """The mark that the deployment's Redis has, or gets. Raises DeploymentError, BooksUnavailableError."""
    row = await books.row("redis")
    if row is None:
        raise DeploymentError("it is not kept which Redis is this deployment's: run `redpacket migrate` first")
    return Mark(deployment.topic, row["generation"], row["name"])


async def check_redis(client: ShardClient, settings: Settings, ours: Mark) -> None:
    """Redis may be away where its name is the one that is kept. Raises DeploymentError where the settings lead to
    another Redis, or may do so."""
    name = redis_name(settings.redis_url)
    try:
        found = await read_mark(client)
    except ShardUnreachableError as error:
        if name != ours.name:
            raise DeploymentError(f"{_another(name, ours)}, and it does not answer: {error}. {_WHAT_TO_DO}") from None
        return
    if why := why_not(name, found, ours):
        raise DeploymentError(why)


async def mark_redis(client: ShardClient, settings: Settings, ours: Mark) -> None:
    """Marks the Redis that `check_redis` let pass, where it has no mark: shards that are open already are not opened,
    so nothing else would. Raises DeploymentError where it has another mark by now."""
    try:
        await client.load_library()
        found = await leave_mark(client, ours)
    except ShardUnreachableError:
        return  # marked when a shard is opened
    if why := why_not(redis_name(settings.redis_url), found, ours):
        raise DeploymentError(why)


def why_not(name: str, found: Mark | None, ours: Mark) -> str:
    """Why the Redis of this name, marked so, is not the deployment's; '' where it is, however its URL is spelled."""
    if found is None:
        # Nothing is kept over a restart, so an empty one where ours should be is ours.
        return "" if name == ours.name else f"{_another(name, ours)}, and it has no mark. {_WHAT_TO_DO}"
    if found == ours:
        return ""
    if found.deployment != ours.deployment:
        return (
            f"the Redis at {name} belongs to another deployment ({found.deployment}, this is {ours.deployment}):"
            " REDPACKET_REDIS_URL is wrong"
        )
    if found.generation > ours.generation:
        return (
            f"the Redis at {name} was marked as generation {found.generation} of this deployment, this process knows"
            f" {_described(ours)}. Where Redis was replaced while it ran, start it anew. Where `redpacket redis"
            " replace` did not come to its end, run it again, with the settings that lead to the old one. Where"
            " Postgres was restored to before a replacement, run `redpacket redis replace --old-is-dead` with these"
            " settings"
        )
    return (
        f"the Redis at {name} was this deployment's once (generation {found.generation}), and has been replaced by"
        f" {_described(ours)}. {_WHAT_TO_DO}"
    )


def _another(name: str, ours: Mark) -> str:
    return f"REDPACKET_REDIS_URL leads to {name}, this deployment's Redis is {_described(ours)}"


def _described(mark: Mark) -> str:
    return f"{mark.name}, generation {mark.generation}"


_WHAT_TO_DO = (
    "Changing the setting alone would lose what is acknowledged: `redpacket redis replace` comes first, then the"
    " setting, then the workers are rolled"
)
