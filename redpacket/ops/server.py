"""uvicorn inside a process of ours, which handles signals itself, accepts only the connections that it can hold, and
stops its servers in its own order."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import uvicorn

from redpacket.limits import OPS_CONNECTIONS
from redpacket.ops import metrics
from redpacket.ops.drain import Connection
from redpacket.ops.protocol import LimitedProtocol

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 10.0
# What the kernel takes of a connection before it is read: also the most that one read brings, each of which is kept
# until its requests are served.
_RECEIVED_MAX_BYTES = 16_384


class ListenError(Exception):
    """Nobody can be heard at the address; the message names it, and who asked for it."""


class Server(uvicorn.Server):
    """Stops accepting at `connections_max` connections, so that another worker on the same socket gets the next one.
    uvicorn's own limit accepts a connection to refuse it, which is faster than serving: full workers would get most."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket, connections_max: int) -> None:
        super().__init__(config)
        self._listening = listening
        self._connections_max = connections_max
        self._accepts = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def connections(self) -> set[Connection]:
        """Those that are there at any time. Only where the `http` of `serving` is a class of such."""
        return cast("set[Connection]", self.server_state.connections)

    def stop_accepting(self) -> None:
        """Leaves who comes from now on to the others that listen on the same socket."""
        self._accepts = False
        self._turn_away()
        self._listening.close()  # else the kernel would go on accepting for nobody

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._accept()
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        if self._accepts and not self.servers and len(self.connections) < self._connections_max:
            with contextlib.suppress(OSError):  # no file is free for a moment: the next tick tries again
                await self._accept()
        return await super().on_tick(counter)

    async def _accept(self) -> None:
        loop, config = asyncio.get_running_loop(), self.config
        # A server closes the socket that it was given.
        listening = self._listening.dup()
        self.servers = [await loop.create_server(self._speak, sock=listening, backlog=config.backlog)]
        if not self._accepts:  # any more
            self._turn_away()

    def _turn_away(self) -> None:
        for server in self.servers:
            server.close()
        self.servers = []

    def _speak(self) -> asyncio.Protocol:
        """What speaks with a client who has just been accepted."""
        if len(self.connections) + 1 >= self._connections_max:
            asyncio.get_running_loop().call_soon(self._hold_full)
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state={}
        )

    def _hold_full(self) -> None:
        if self.servers:
            self._turn_away()
            metrics.CONNECTIONS_FULL.inc()
            logger.warning("accepts nobody until one of its %d connections is closed", self._connections_max)


@contextlib.asynccontextmanager
async def serving(
    app: Any,
    listening: socket.socket,
    drain_s: float = 5.0,
    *,
    connections_max: int = OPS_CONNECTIONS,
    http: type[LimitedProtocol] = LimitedProtocol,
    **options: Any,
) -> AsyncIterator[Server]:
    """Serves the ASGI `app` on the socket; at the end, requests under way get `drain_s`, in whole seconds or a little
    more, to finish. `http`: what speaks with one client."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_MAX_BYTES)
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
    server = Server(config, listening, connections_max)
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
