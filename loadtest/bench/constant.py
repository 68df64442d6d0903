"""The floor of HTTP: a server like an API worker, whose answer to everything is one constant claim.

Run as `python -m loadtest.bench.constant`; prints its port, serves until SIGTERM.
"""

import socket
from typing import Any

import uvloop

from redpacket.ops.server import serving
from redpacket.ops.signals import stop_on_signals
from service.connection import SERVED, Connection

_BODY = (
    b'{"packet":"0b50f53a2d8bd6f4b0d9c6f9a7d0e1c2b3a495","share":1234,"amount":101,"currency":"CNY",'
    b'"claimed_at":"2026-01-01T00:00:00.000Z"}'
)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def answer_constant(_: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 201, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def _serve() -> None:
    stop = stop_on_signals()
    with socket.create_server(("127.0.0.1", 0), backlog=SERVED["backlog"]) as listening:
        listening.setblocking(False)
        async with serving(answer_constant, listening, connections_max=8_192, http=Connection, **SERVED):
            print(listening.getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
