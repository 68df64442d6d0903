"""/healthz/live, /healthz/ready and /metrics, on a port of each process."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATHS = ("/healthz/live", "/healthz/ready", "/metrics")
# As they are sent: no other spelling is one of them.
RAW_PATHS = frozenset(path.encode() for path in PATHS)


class HealthApp:
    """An ASGI app. `why_not_ready` says in a word what is missing, or '' when work may be sent here."""

    def __init__(self, why_not_ready: Callable[[], str]) -> None:
        self._why_not_ready = why_not_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["raw_path"]:
            case path if path not in RAW_PATHS:
                await answer(send, 404, b"not found\n")
            case _ if scope["method"] != "GET":
                await answer(send, 405, b"method not allowed\n", headers=[(b"allow", b"GET")])
            case b"/healthz/live":
                await answer(send, 200, b"live\n")
            case b"/healthz/ready":
                why_not = self._why_not_ready()
                await answer(send, 503 if why_not else 200, (why_not or "ready").encode() + b"\n")
            case _:
                await answer(send, 200, generate_latest(), CONTENT_TYPE_LATEST)


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
