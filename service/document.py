"""The OpenAPI document: the paths as the framework knows them, the rest as it is really checked and sent."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import Method

from service import words
from service.call import Call
from service.problems import MEDIA_TYPE, Code, Problem

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

_REQUEST_ID = "X-Request-Id"
# Any text is taken: one that is not well-formed is replaced, not refused.
_GIVEN_ID = {
    "name": _REQUEST_ID,
    "in": "header",
    "description": "The caller's own name for the request, of 1-64 of `A-Z a-z 0-9 . _ : -`; else it is given one.",
    "required": False,
    "schema": {"type": "string"},
}
_TOLD_ID = {
    "description": "The id of the request.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
}

_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
# Answered before the framework: see redpacket/ops/health.py. What each is for, and what its statuses say.
_HEALTH = {
    "/healthz/live": ("Whether this process runs.", {"200": "live"}),
    "/healthz/ready": ("Whether work may be sent here.", {"200": "ready", "503": "why not"}),
    "/metrics": ("What this process has counted.", {"200": "for Prometheus"}),
}
# What is refused before its path is looked at.
_HEALTH_REFUSALS = (Code.INVALID_REQUEST, Code.METHOD_NOT_ALLOWED, Code.REQUEST_TIMEOUT, Code.HEADERS_TOO_LARGE)

# Where an empty body, which is `{}`, says all.
_WITHOUT_BODY = ("claim_share", "close_packet")


def describe(api: Router, health: Iterable[str]) -> bytes:
    """The OpenAPI document of the routes and of what is told of this process's `health`, as JSON."""
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
        operation.setdefault("parameters", []).append(_GIVEN_ID)
        if operation["operationId"] in _WITHOUT_BODY:
            operation["requestBody"]["required"] = False
        for status, response in operation["responses"].items():
            response["headers"] = _headers(status)
    document["paths"] |= {path: {"get": _health_operation(path)} for path in health}
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


def _headers(status: str) -> dict[str, Any]:
    described = {_REQUEST_ID: _TOLD_ID}
    if status in _HEADERS:
        name, schema = _HEADERS[status]
        described[name] = {"description": schema.get("description", name), "required": True, "schema": schema}
    return described


def _health_operation(path: str) -> dict[str, Any]:
    description, statuses = _HEALTH[path]
    # Its 503 is no problem of the API's: nobody is told when to come back.
    said = {
        status: {"description": text, "headers": {_REQUEST_ID: _TOLD_ID}, "content": _TEXT}
        for status, text in statuses.items()
    }
    refused = {
        str(code.status): {
            "description": f"`{code.code}`: {code.title}.",
            "headers": _headers(str(code.status)),
            "content": _PROBLEM,
        }
        for code in _HEALTH_REFUSALS
    }
    return {"operationId": path.rpartition("/")[2], "description": description, "responses": said | refused}
