"""The HTTP application: routes, their document, and how errors are told."""

from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from litestar import Litestar, MediaType, Request, Response, Router, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.auth import Authenticator
from service.call import Call
from service.claims import App
from service.operations import KeyDoor
from service.outcomes import count
from service.problems import MEDIA_TYPE, Code, ProblemError, problem_of

_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.TOO_LARGE}


def build_app(api: Router, authenticator: Authenticator, why_not_ready: Callable[[], str]) -> App:
    """`why_not_ready` says in a word what is missing, or '' when work may be sent here."""
    routes: list[Router | HTTPRouteHandler] = [api, *_probes(why_not_ready)]
    document = describe(routes)

    @get("/openapi.json", include_in_schema=False, media_type=MediaType.JSON)
    async def openapi() -> bytes:
        return document

    app = Litestar(
        [*routes, openapi],
        state=State({"authenticator": authenticator}),
        request_class=Call,
        exception_handlers={Exception: _tell},
        openapi_config=None,
        logging_config=None,
    )
    return KeyDoor(cast("App", app))


def describe(routes: Sequence[Router | HTTPRouteHandler]) -> bytes:
    """The OpenAPI document of the routes, as JSON."""
    config = OpenAPIConfig(
        title="redpacket",
        version="1",
        description="Red packets and payments in which a 201 is final. Amounts are integers in minor units.",
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
        use_handler_docstrings=True,
    )
    # An application of its own: the one that serves has none of the pages that come along with the document.
    described = Litestar(routes, openapi_config=config, request_class=Call, logging_config=None)
    return msgspec.json.encode(described.openapi_schema.to_schema())


def _probes(why_not_ready: Callable[[], str]) -> list[HTTPRouteHandler]:
    @get("/healthz/live", media_type=MediaType.TEXT)
    async def live() -> str:
        """Whether this process runs."""
        return "live\n"

    @get("/healthz/ready", media_type=MediaType.TEXT)
    async def ready() -> Response[str]:
        """Whether work may be sent to this process."""
        why_not = why_not_ready()
        return Response(f"{why_not or 'ready'}\n", status_code=503 if why_not else 200, media_type=MediaType.TEXT)

    @get("/metrics", media_type=CONTENT_TYPE_LATEST)
    async def metrics() -> bytes:
        """What this process has counted, for Prometheus."""
        return generate_latest()

    return [live, ready, metrics]


def _tell(request: Request[object, object, State], error: Exception) -> Response[bytes]:
    problem = _problem_of_http(error) if isinstance(error, HTTPException) else problem_of(error)
    handler = request.scope.get("route_handler")
    if handler is not None and (kind := handler.opt.get("kind")):
        count(kind, problem.code.code)
    return Response(problem.body(), status_code=problem.code.status, media_type=MEDIA_TYPE, headers=problem.headers)


def _problem_of_http(error: HTTPException) -> ProblemError:
    """The framework's own refusals, in our words."""
    if error.status_code >= 500:
        return problem_of(error)
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        detail = "; ".join(f"{wrong.get('key', 'body')}: {wrong.get('message', '')}" for wrong in error.extra)
    return ProblemError(_CODES.get(error.status_code, Code.INVALID_REQUEST), detail, error.headers)
