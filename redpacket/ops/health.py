"""/healthz/live, /healthz/ready and /metrics, on a port of each process."""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PROBES = ("/healthz/live", "/healthz/ready")
PATHS = (*PROBES, "/metrics")
METHODS = ("GET", "HEAD")
# As they are sent: no other spelling is one of them.
_RAW_PATHS = frozenset(path.encode() for path in PATHS)

# Rendering /metrics takes 1.3 ms, and anybody may ask for it: at most one rendering in this time.
_RENDER_PAUSE_S = 1.0


class HealthApp:
    """An ASGI app. `why_not_ready` says in a word what is missing, or '' when work may be sent here. /metrics is a
    second old at most."""

    def __init__(self, why_not_ready: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._why_not_ready = why_not_ready
        self._clock = clock
        self._rendered = b""
        self._rendered_until_s = -1.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["raw_path"]:
            case path if path not in _RAW_PATHS:
                await answer(send, 404, b"not found\n")
            case _ if scope["method"] not in METHODS:
                await answer(send, 405, b"method not allowed\n", headers=[(b"allow", ", ".join(METHODS).encode())])
            case b"/healthz/live":
                await answer(send, 200, b"live\n")
            case b"/healthz/ready":
                why_not = self._why_not_ready()
                await answer(send, 503 if why_not else 200, (why_not or "ready").encode() + b"\n")
            case _:
                await answer(send, 200, self._metrics(), CONTENT_TYPE_LATEST)

    def _metrics(self) -> bytes:
        now_s = self._clock()
        if now_s >= self._rendered_until_s:
            self._rendered, self._rendered_until_s = generate_latest(), now_s + _RENDER_PAUSE_S
        return self._rendered


async def answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: str = "text/plain; charset=utf-8",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """A whole response in two messages. `headers`: others than its type and length."""
    own = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
