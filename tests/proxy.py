"""A proxy on TCP between what is tested and a real server: it passes bytes on, holds them back, loses them, or cuts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from redpacket.stack.sockets import POSTGRES, REDIS
from tests.deployment import Deployment

Direction = Literal["requests", "answers"]

_HOST = "127.0.0.1"


class Proxy:
    """`async with Proxy(server) as proxy:` listens on `proxy.port`. `server`: its port, or its socket.

    `losing`: what is lost from now on. A connection that has lost anything in a direction never passes anything there
    again: its other end is gone without a word. `deaf_to`: says of what requests it is so alone. `requests`: all that
    was passed to the server. `fatal`: the next request that holds this is passed on and carried out, its answer is lost
    and the connection is cut. `accepted`: how many connections were made, those that the server then refused as well.
    """

    def __init__(self, server: int | Path) -> None:
        self.port = 0
        self.losing: set[Direction] = set()
        self.deaf_to: Callable[[bytes], bool] = lambda _: False
        self.requests = bytearray()
        self.accepted = 0
        self.fatal = b""
        self._behind = server
        self._connections: set[asyncio.Task[None]] = set()
        self._answers_flow = asyncio.Event()
        self._answers_flow.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        if self._connections:
            await asyncio.wait(self._connections)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Every connection is cut and none can be made within."""
        self._server.close()
        self.cut()
        try:
            yield
        finally:
            self._server = await asyncio.start_server(self._accept, _HOST, self.port)

    def cut(self) -> None:
        """Every connection is closed; new ones may be made."""
        for connection in self._connections:
            connection.cancel()

    def lead_to(self, server: int | Path) -> None:
        """From now on the name leads to another server: every connection is closed, new ones get there."""
        self._behind = server
        self.cut()

    @asynccontextmanager
    async def answers_held(self) -> AsyncIterator[None]:
        """What the server answers within comes late: on leaving."""
        self._answers_flow.clear()
        try:
            yield
        finally:
            self._answers_flow.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                server_reader, server_writer = await self._connect()
            except OSError:
                return
            with closing(server_writer):
                doomed = asyncio.Event()
                ways = (
                    asyncio.create_task(self._pass_requests(reader, server_writer, doomed)),
                    asyncio.create_task(self._pass_answers(server_reader, writer, doomed)),
                )
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._behind, Path):
            return await asyncio.open_unix_connection(self._behind)
        return await asyncio.open_connection(_HOST, self._behind)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        broken = False
        while data := await reader.read(65_536):
            broken = broken or "requests" in self.losing or self.deaf_to(data)
            if broken:
                continue
            self.requests += data
            if self.fatal and self.fatal in data:
                self.fatal = b""
                doomed.set()
            writer.write(data)
            await writer.drain()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        here = there = b""
        if isinstance(self._behind, int):  # Kafka tells its clients where it is
            there, here = (_HOST.encode() + port.to_bytes(4) for port in (self._behind, self.port))
        broken = False
        while (data := await reader.read(65_536)) and not doomed.is_set():
            await self._answers_flow.wait()
            broken = broken or "answers" in self.losing
            if not broken:
                writer.write(data.replace(there, here) if there else data)
                await writer.drain()


@asynccontextmanager
async def proxied(deployment: Deployment, part: str) -> AsyncIterator[tuple[Proxy, dict[str, str]]]:
    """A proxy before "redis", "kafka" or "postgres", and the setting by which one gets there."""
    settings, servers = deployment.settings, deployment.servers
    match part:
        case "redis":
            behind: int | Path = servers.redis.sockets / REDIS
        case "postgres":
            behind = servers.postgres.sockets / POSTGRES
        case _:
            behind = servers.kafka.port
    async with Proxy(behind) as proxy:
        here = f"{_HOST}:{proxy.port}"
        match part:
            case "redis":
                yield proxy, {"redis_url": f"redis://{here}/{settings.redis_url.rpartition('=')[2]}"}
            case "postgres":
                url = urlsplit(settings.postgres_url)
                role = url.netloc.rpartition("@")[0]
                yield proxy, {"postgres_url": url._replace(netloc=f"{role}@{here}").geturl()}
            case _:
                yield proxy, {"kafka_bootstrap": here}
