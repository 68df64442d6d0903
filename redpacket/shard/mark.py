"""The mark that a deployment leaves in its Redis, and the name by which it knows it."""

import msgspec
from msgspec import Struct
from redis.asyncio.connection import parse_url

from redpacket.settings import SettingsError
from redpacket.shard.client import ShardClient


class Mark(Struct, frozen=True):
    """`deployment`: the name of its topic, which no other has; `name`: of this Redis, as Postgres has it."""

    deployment: str
    generation: int
    name: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Mark).decode


def redis_name(url: str) -> str:
    """Where `url` leads, without what is secret in it: host:port/db, or unix:PATH. Raises SettingsError."""
    try:
        told = parse_url(url)
    except ValueError as error:
        raise SettingsError(f"settings: REDPACKET_REDIS_URL: {error}") from None
    database = told.get("db", 0)
    if path := told.get("path"):
        return f"unix:{path}" + (f"?db={database}" if database else "")
    return f"{told.get('host', 'localhost').lower()}:{told.get('port', 6379)}/{database}"


async def read_mark(client: ShardClient) -> Mark | None:
    """Whose Redis it is; None where nobody has marked it. Raises ShardUnreachableError."""
    held = await client.read_mark()
    return None if held is None else _decoded(held)


async def leave_mark(client: ShardClient, mark: Mark, *, over: bool = False) -> Mark:
    """Marks a Redis that has no mark, or, with `over`, one of a lower generation of the same deployment; the mark that
    it has now. Raises ShardUnreachableError."""
    return _decoded(await client.mark(_encode(mark), over=over))


def _decoded(held: bytes) -> Mark:
    try:
        return _decode(held)
    except msgspec.DecodeError:
        return Mark(held.decode(errors="backslashreplace"), 0, "")
