"""uvicorn inside a process of ours, which keeps the signals to itself and stops its servers in its own order."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

_START_TIMEOUT_S = 10.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    app: Any, listening: socket.socket, drain_s: float = 5.0, *, http: Any = "httptools", **options: Any
) -> AsyncIterator[None]:
    """Serves the ASGI `app` on the socket; at the end, requests under way get `drain_s` to finish. `http`: uvicorn's
    name of a protocol, or a class of ours."""
    config = uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(drain_s),
        **options,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine's own address alone; port 0 takes a free one."""
    listening = socket.create_server(("127.0.0.1", port), backlog=128, reuse_port=False)
    listening.setblocking(False)
    return listening
