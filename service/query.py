"""The query of a URL, as strict as a body: names that the route has, each once, and numbers in digits."""

import re
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request

from service.problems import Code, ProblemError

# Of all routes; which of them has which is read from its parameters.
_NAMES = {"after", "limit"}
_DIGITS = re.compile(r"[0-9]+")


async def check_query(request: Request[Any, Any, Any]) -> None:
    """What the framework is too lenient for; it has the ranges. Raises ProblemError `invalid_request` with the name."""
    query: bytes = request.scope["query_string"]
    if not query:
        return
    known = sorted(_NAMES & request.route_handler.parsed_fn_signature.parameters.keys())
    seen: set[str] = set()
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            raise _invalid(f"{name}: not a parameter here; there is {' and '.join(known) or 'none'}")
        if name in seen:
            raise _invalid(f"{name}: given twice")
        if not _DIGITS.fullmatch(value):
            raise _invalid(f"{name}: digits only, not '{value}'")
        seen.add(name)


def _invalid(detail: str) -> ProblemError:
    return ProblemError(Code.INVALID_REQUEST, f"In the URL's query, {detail}.")
