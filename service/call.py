"""One request as an endpoint sees it, and what is looked at before it, in the contract's order.

A route lists the checks it needs as guards: token, operator, size, key. The body is decoded only then. They are async
though most wait for nothing: the framework runs others in threads, which costs more than they do.
"""

import json
import re
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from service.auth import Authenticator, Caller
from service.connection import KNOWN
from service.problems import Code, ProblemError

BODY_MAX_BYTES = 4096

_NO_KEY = "The header Idempotency-Key, of 1-255 visible ASCII characters: a new one for each thing to be done once."
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")

T = TypeVar("T")
Connection = ASGIConnection[Any, Any, Any, Any]


class Call(Request[Caller, None, State]):
    """A request whose body is small, complete in time, and decoded strictly."""

    async def body(self) -> bytes:
        """At most 4 KiB; an empty one is `{}`. Raises ProblemError `too_large`."""
        if "body" not in self.scope["state"]:
            self.scope["state"]["body"] = await self._read_body() or b"{}"
        body: bytes = self.scope["state"]["body"]
        return body

    async def json(self) -> Any:
        """The Struct that the route takes as `data`. Raises ProblemError `invalid_request` naming the field."""
        field = self.route_handler.parsed_data_field
        assert field is not None
        return decode_body(await self.body(), field.annotation)

    async def _read_body(self) -> bytes:
        body, more = b"", True
        while more:
            # How long the client may take is the protocol's business: a late body ends in a disconnect.
            message = await self.receive()
            if message["type"] != "http.request":
                raise ProblemError(Code.REQUEST_TIMEOUT, "The client went away.")
            body += message["body"]
            more = message["more_body"]
            if len(body) > BODY_MAX_BYTES:
                raise ProblemError(Code.TOO_LARGE, f"A body may have {BODY_MAX_BYTES} bytes.")
        return body


def decode_body(body: bytes, type: type[T]) -> T:
    """`body` as a Struct. Raises ProblemError `invalid_request`, with the field where there is one."""
    try:
        decoded = msgspec.json.decode(body, type=type)
        # msgspec lets the last of two equal names win.
        json.loads(body, object_pairs_hook=_refuse_duplicates)
    except msgspec.ValidationError as error:
        raise ProblemError(Code.INVALID_REQUEST, str(error)) from None
    except (ValueError, RecursionError) as error:
        # Neither bad UTF-8 nor nesting that is too deep is a DecodeError.
        raise ProblemError(Code.INVALID_REQUEST, f"The body is not valid JSON: {error}") from None
    return decoded


async def check_token(connection: Connection, _: BaseRouteHandler) -> None:
    authenticator: Authenticator = connection.app.state.authenticator
    connection.scope["user"] = authenticator.caller_of(connection.scope["headers"])
    connection.scope["state"][KNOWN] = True


async def check_operator(connection: Connection, _: BaseRouteHandler) -> None:
    if not connection.user.operator:
        raise ProblemError(Code.NOT_ALLOWED, "A token with the scope `operator` is required.")


async def check_size(connection: Connection, _: BaseRouteHandler) -> None:
    assert isinstance(connection, Call)
    await connection.body()


async def check_key(connection: Connection, _: BaseRouteHandler) -> None:
    given = [value for name, value in connection.scope["headers"] if name == b"idempotency-key"]
    if not given:
        raise ProblemError(Code.IDEMPOTENCY_KEY_MISSING, _NO_KEY)
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise ProblemError(
            Code.INVALID_REQUEST, "Idempotency-Key must be one header of 1-255 visible ASCII characters."
        )


def key_of(segment: str) -> str:
    """The key that a segment of a path spells, as Paths leaves it. Raises ProblemError `invalid_request`."""
    key = unquote(segment)
    if not _KEY.fullmatch(key.encode()):
        raise ProblemError(Code.INVALID_REQUEST, "idempotency_key has 1-255 visible ASCII characters.")
    return key


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ProblemError(Code.INVALID_REQUEST, f"The field `{name}` is there twice.")
