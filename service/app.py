"""The HTTP application: routes, their document, and how errors are told."""

from collections.abc import Iterable

from litestar import Litestar, MediaType, Request, Response, Router, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from service.auth import Authenticator
from service.call import Call
from service.document import describe
from service.outcomes import count
from service.paths import Paths
from service.problems import MEDIA_TYPE, Code, ProblemError, problem_of


def build_app(api: Router, authenticator: Authenticator, health: Iterable[str]) -> Paths:
    """`health`: the paths that tell of this process, which are answered before (service/door.py)."""
    document = describe(api, health)

    @get("/openapi.json", include_in_schema=False, media_type=MediaType.JSON)
    async def openapi() -> bytes:
        return document

    app = Litestar(
        [api, openapi],
        state=State({"authenticator": authenticator}),
        request_class=Call,
        exception_handlers={Exception: _tell},
        openapi_config=None,
        logging_config=None,
    )
    return Paths(app, health)


def _tell(request: Request[object, object, State], error: Exception) -> Response[bytes]:
    problem = _problem_of_http(error) if isinstance(error, HTTPException) else problem_of(error)
    handler = request.scope.get("route_handler")
    if handler is not None and (kind := handler.opt.get("kind")):
        count(kind, problem.code.code)
    return Response(problem.body(), status_code=problem.code.status, media_type=MEDIA_TYPE, headers=problem.headers)


def _problem_of_http(error: HTTPException) -> ProblemError:
    """The framework's own refusals, in our words. It says no 404 or 405: Paths was before it."""
    if error.status_code >= 500:
        return problem_of(error)
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        detail = "; ".join(f"{wrong.get('key', 'body')}: {wrong.get('message', '')}" for wrong in error.extra)
    return ProblemError(Code.INVALID_REQUEST, detail)
