"""What never changes in the life of a deployment, and the refusal to start where a process disagrees with it."""

import hashlib

import asyncpg
from msgspec import Struct

from redpacket.books.database import Books, BooksUnavailableError
from redpacket.settings import Settings, read_key

# Without it this version's statements fail one by one. A newer one is good: a version runs on the tables of the next.
NEEDED_MIGRATION = "0011_detach.sql"


class DeploymentError(Exception):
    """This process must not serve this deployment; the message says in what they differ and what to do."""


class Keys(Struct, frozen=True):
    """Secrets of the deployment, 32 bytes each; neither may ever change."""

    id_key: bytes
    split_key: bytes


class Deployment(Struct, frozen=True):
    shards: int
    currency: str
    id_key_fingerprint: str
    split_key_fingerprint: str
    kafka_cluster_id: str
    topic: str


def read_keys(settings: Settings) -> Keys:
    """Raises SettingsError."""
    return Keys(read_key(settings, "id.key"), read_key(settings, "split.key"))


def describe_deployment(settings: Settings, keys: Keys, kafka_cluster_id: str, topic: str) -> Deployment:
    """The deployment that a process with these settings believes to serve."""
    return Deployment(
        settings.shards,
        settings.currency,
        _fingerprint(keys.id_key),
        _fingerprint(keys.split_key),
        kafka_cluster_id,
        topic,
    )


async def check_deployment(books: Books, settings: Settings, keys: Keys, kafka_cluster_id: str) -> Deployment:
    """The installed deployment. Raises DeploymentError where it is another, or none; BooksUnavailableError."""
    try:
        row = await books.row("deployment")
    except BooksUnavailableError as error:
        if not isinstance(error.__cause__, asyncpg.UndefinedTableError):
            raise
        row = None
    if row is None:
        raise DeploymentError("nothing is installed in this database: run `redpacket migrate` first")
    newest = (await books.row("newest_migration") or {"name": ""})["name"]
    if newest < NEEDED_MIGRATION:
        raise DeploymentError(
            f"the tables are as of {newest}, this version needs {NEEDED_MIGRATION}: run `redpacket migrate` first"
        )
    installed = Deployment(**dict(row))
    believed = describe_deployment(settings, keys, kafka_cluster_id, installed.topic)
    for field in Deployment.__struct_fields__:
        here, there = getattr(believed, field), getattr(installed, field)
        if here != there:
            raise DeploymentError(f"{field} is {here!r} here but {there!r} in Postgres: this is another deployment")
    return installed


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"redpacket key fingerprint\n" + key).hexdigest()[:16]
