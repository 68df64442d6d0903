"""Which paths and methods there are, each in one spelling: all else ends here, before anything else is looked at.

The framework would take `/v1/wallet/`, `//v1/wallet` and `/v1/%77allet` for `/v1/wallet`, and answer OPTIONS by itself.
"""

import re
from collections.abc import Iterable
from typing import cast
from urllib.parse import quote

from litestar import Litestar

from service.claims import App, Receive, Scope
from service.problems import Code, ProblemError, Send, answer_problem

_OPERATIONS = "/v1/operations/"


class Paths:
    """An ASGI app before the framework's: 404 `not_found`, 405 `method_not_allowed` with the methods that there are.
    HEAD is where GET is. `read_before`: paths that are read before they come here."""

    def __init__(self, app: Litestar, read_before: Iterable[str]) -> None:
        self._app = cast("App", app)
        known = {route.path_format: route.methods - {"OPTIONS"} for route in app.routes}
        known |= {path: {"GET"} for path in read_before}
        self._methods = [
            (_pattern(path), methods | {"HEAD"} if "GET" in methods else methods) for path, methods in known.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._methods_of(scope["raw_path"])
        if methods is None:
            await answer_problem(send, ProblemError(Code.NOT_FOUND, "There is no such path; see /openapi.json."))
        elif scope["method"] not in methods:
            await answer_problem(send, method_not_allowed(methods))
        else:
            await self._app(_for_the_framework(scope), receive, send)

    def _methods_of(self, raw_path: bytes) -> Iterable[str] | None:
        return next((methods for pattern, methods in self._methods if pattern.fullmatch(raw_path)), None)


def _for_the_framework(scope: Scope) -> Scope:
    if scope["method"] == "HEAD":
        # The server leaves out the body.
        scope = {**scope, "method": "GET"}
    if scope["path"].startswith(_OPERATIONS):
        # A key may hold slashes, at which the framework would divide the path, and drop some: it gets the key as one
        # segment, percent-encoded (key_of decodes it).
        key = scope["path"].removeprefix(_OPERATIONS)
        scope = {**scope, "path": _OPERATIONS + quote(key, safe="")}
    return scope


def method_not_allowed(methods: Iterable[str]) -> ProblemError:
    allow = ", ".join(sorted(methods))
    return ProblemError(Code.METHOD_NOT_ALLOWED, f"Methods here: {allow}.", {"allow": allow})


def _pattern(path: str) -> re.Pattern[bytes]:
    """Of the path as it is sent: only an idempotency key may have to be percent-encoded."""
    if path.startswith(_OPERATIONS):
        return re.compile(_OPERATIONS.encode() + rb".+")
    return re.compile("[^/%]+".join(re.escape(part) for part in re.split(r"\{\w+\}", path)).encode())
