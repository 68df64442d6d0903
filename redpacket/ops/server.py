"""uvicorn inside a process of ours, which keeps the signals to itself and stops its servers in its own order."""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import uvicorn

from redpacket.ops.drain import Connection
from redpacket.ops.protocol import LimitedProtocol

_START_TIMEOUT_S = 10.0


class ListenError(Exception):
    """Nobody can be heard at the address; the message names it, and who asked for it."""


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def connections(self) -> set[Connection]:
        """Those that are there at any time. Only where the `http` of `serving` is a class of such."""
        return cast("set[Connection]", self.server_state.connections)

    def stop_accepting(self) -> None:
        """Leaves who comes from now on to the others that listen on the same socket."""
        for server in self.servers:
            server.close()


@contextlib.asynccontextmanager
async def serving(
    app: Any,
    listening: socket.socket,
    drain_s: float = 5.0,
    *,
    http: type[LimitedProtocol] = LimitedProtocol,
    **options: Any,
) -> AsyncIterator[Server]:
    """Serves the ASGI `app` on the socket; at the end, requests under way get `drain_s`, in whole seconds or a little
    more, to finish. `http`: what speaks with one client."""
    config = uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(drain_s),
        **options,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        await task


def listen(
    host: str, port: int, backlog: int = 128, asked_by: str = "REDPACKET_OPS_HOST and REDPACKET_OPS_PORT"
) -> socket.socket:
    """By default a socket for health and metrics; port 0 takes a free one. `host`: of IPv4 or IPv6; `::` is both.

    Raises ListenError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listening = socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
        why = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"cannot listen on port {port} of {host!r} ({asked_by}): {why}") from None
    listening.setblocking(False)
    return listening
