"""A service behind the door of the API, in this process, and a client that sends bytes as they are."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from redpacket.ops import drain
from redpacket.ops.health import PATHS, HealthApp, answer
from redpacket.ops.server import Server, serving
from redpacket.shard.client import ShardClosedError
from service.connection import KNOWN, Connection
from service.door import Door
from service.problems import Problem

LONG_S = 10.0

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


class Service:
    """An endpoint that answers its path, and waits or fails where the path says so."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.go = asyncio.Event()
        self.started = asyncio.Semaphore(0)
        self.address: tuple[str, int] = ("", 0)
        self.server: Server

    @property
    def connection(self) -> drain.Connection:
        """The only one."""
        (connection,) = self.server.connections
        return connection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.started.release()
        match scope["path"]:
            case "/known":
                scope["state"][KNOWN] = True
            case "/wait":
                await self.go.wait()
            case "/body":
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    if not message["more_body"]:
                        break
            case "/closed":
                raise ShardClosedError("shard 3 is closed")
            case "/bug":
                raise RuntimeError("secret")
            case "/late-bug":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
                raise RuntimeError("secret")
            case "/much":
                await answer(send, 200, b"x" * 2**24)
                return
        await answer(send, 200, scope["path"].encode())


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Service], Awaitable[Client]]


@asynccontextmanager
async def running(
    in_flight_max: int = 100, drain_s: float = 2.0, connections_max: int = 256, health_paths: tuple[str, ...] = PATHS
) -> AsyncIterator[Service]:
    service = Service()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        service.address = listening.getsockname()
        door = Door(service, HealthApp(lambda: ""), health_paths, service.stop, in_flight_max)
        options: dict[str, Any] = {"connections_max": connections_max, "proxy_headers": False}
        async with serving(door, listening, drain_s, http=Connection, **options) as service.server:
            yield service


async def read_answer(reader: asyncio.StreamReader, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(LONG_S):
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if head_only else int(headers["content-length"])
        return int(start.split()[1]), headers, await reader.readexactly(length)


async def read_problem(reader: asyncio.StreamReader) -> tuple[int, str]:
    status, headers, body = await read_answer(reader)
    assert headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(body, type=Problem)
    assert problem.status == status
    assert ("retry-after" in headers) == (status == 503)
    return status, problem.code


async def at_end(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(LONG_S):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True
