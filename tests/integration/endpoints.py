"""Every endpoint, with a request that it answers well: a new one is one more line, and meets all that is bad."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """`path` is spelled as in the OpenAPI document. `caller`: whose good request it is. `body`: a good one, where there
    is any. `money`, `texts`: fields of it."""

    method: str
    path: str
    status: int = 200
    caller: str = "alice"
    operator: bool = False
    key: bool = False
    body: dict[str, Any] | None = None
    money: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    page: bool = False
    token: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_SEND = {"kind": "lucky", "total": 1000, "shares": 3, "cap": 900, "min": 1, "greeting": "hi", "currency": "CNY"}
_TOP_UP = {"owner": "dora", "amount": 5, "currency": "CNY"}

ENDPOINTS = [
    Endpoint(
        *("POST", "/v1/topups", 201),
        operator=True,
        key=True,
        body=_TOP_UP,
        money=("amount",),
        texts=("owner", "currency"),
    ),
    Endpoint(
        *("POST", "/v1/packets", 201),
        key=True,
        body=_SEND,
        money=("total", "cap", "min"),
        texts=("greeting", "currency", "kind"),
    ),
    Endpoint("GET", "/v1/wallet"),
    Endpoint("GET", "/v1/wallet/entries", page=True),
    Endpoint("GET", "/v1/packets/{id}"),
    Endpoint("POST", "/v1/packets/{id}/claims", 201, caller="bob", body={}),
    Endpoint("GET", "/v1/packets/{id}/claims", page=True),
    Endpoint("GET", "/v1/packets/{id}/claims/me", caller="carol"),
    Endpoint("POST", "/v1/packets/{id}/close", body={}),
    Endpoint("GET", "/v1/operations/{idempotency_key}"),
    Endpoint("GET", "/healthz/live", token=False),
    Endpoint("GET", "/healthz/ready", token=False),
    Endpoint("GET", "/metrics", token=False),
]


def named(words: str) -> Endpoint:
    """`METHOD PATH`, as an endpoint's own text."""
    return next(it for it in ENDPOINTS if str(it) == words)
