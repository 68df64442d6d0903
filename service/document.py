"""The OpenAPI document: the paths as the framework knows them, the rest as it is really checked and sent."""

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import Method

from redpacket.ops import health
from service import words
from service.call import Call
from service.problems import Problem

_INTRODUCTION = """\
Red packets and payments in which a 201 is final: it is never lost, doubled or changed afterwards.

Amounts are integers in minor units (fen of CNY), times are RFC 3339 in UTC, ids are opaque strings. `Authorization: \
Bearer` with a JWT whose `sub` is the owner who calls. Bodies are JSON of at most 4096 bytes, an empty one is `{}`; \
fields and parameters that are not listed here are refused, and so are those given twice.

Errors are RFC 9457 problems. Act on `code`; where `retryable` is true the same request may succeed after \
`Retry-After`. A 202 `pending` says that the outcome is not known yet: send the same request again (the same \
`Idempotency-Key`, or the same claim) until it is. Do so also when no answer came: it never moves money twice.

Every answer has an `X-Request-Id`: your own, where you send one of 1-64 of `A-Z a-z 0-9 . _ : -`. Tell it when you \
ask what became of a request."""

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "202": ("Retry-After", {"type": "integer", "minimum": 1, "description": "Seconds after which to ask again."}),
    "401": ("WWW-Authenticate", {"type": "string", "const": "Bearer"}),
    "405": ("Allow", {"type": "string", "description": "The methods that this path has.", "examples": ["GET, POST"]}),
    "503": ("Retry-After", {"type": "integer", "minimum": 1, "description": "Seconds after which to ask again."}),
}

# Where an empty body, which is `{}`, says all.
_WITHOUT_BODY = ("claim_share", "close_packet")


def describe(api: Router) -> bytes:
    """The OpenAPI document of the routes, as JSON."""
    config = OpenAPIConfig(
        title="redpacket",
        version="1",
        description=_INTRODUCTION,
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
    )
    # An application of its own: the one that serves has none of the pages that come along with the document.
    described = Litestar([api], openapi_config=config, request_class=Call, logging_config=None)
    document: dict[str, Any] = described.openapi_schema.to_schema()
    document["components"]["schemas"] = _schemas()
    for operation in _operations(document):
        for status, (name, schema) in _HEADERS.items():
            if status in operation["responses"]:
                described_header = {"description": schema.get("description", name), "required": True, "schema": schema}
                operation["responses"][status]["headers"] = {name: described_header}
        if operation["operationId"] in _WITHOUT_BODY:
            operation["requestBody"]["required"] = False
    document["paths"] |= _health_paths()
    return msgspec.json.encode(document)


def _schemas() -> dict[str, Any]:
    """Of every Struct that is read or sent, by the library that does it: no second opinion on what is valid."""
    structs = [it for it in vars(words).values() if isinstance(it, type) and issubclass(it, msgspec.Struct)]
    structs = [it for it in structs if it is not msgspec.Struct]
    _, components = msgspec.json.schema_components([*structs, Problem], ref_template="#/components/schemas/{name}")
    return components


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from item.values()


def _operation_id(handler: HTTPRouteHandler, _method: Method, _path: list[Any]) -> str:
    return handler.handler_name


def _health_paths() -> dict[str, Any]:
    """Answered before the framework: see redpacket/ops/health.py."""
    what = (
        "Whether this process runs.",
        "Whether work may be sent here.",
        "What this process has counted.",
    )
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    answers = ({"200": "live"}, {"200": "ready", "503": "why not"}, {"200": "for Prometheus"})
    return {
        path: {
            "get": {
                "operationId": path.rpartition("/")[2],
                "description": description,
                "responses": {status: {"description": said, **text} for status, said in statuses.items()},
            }
        }
        for path, description, statuses in zip(health.PATHS, what, answers, strict=True)
    }
