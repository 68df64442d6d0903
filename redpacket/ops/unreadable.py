"""Input that cannot be read as a request: why, and how often."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

import httptools

from redpacket.ops import metrics

logger = logging.getLogger(__name__)

HEADERS_MAX_BYTES = 16_384
# What each header costs beside its text.
HEADER_BYTES = 32

# Of a method that nobody knows. The body before it may end without a line end.
_REQUEST_LINE = re.compile(rb"(?<![\w-])(?!(?:GET|POST) )[\w-]+ \S+ HTTP/1\.[01]\r?\n")


class UnreadableError(Exception):
    """What came is no request, or none that is read to its end. `detail` is for people."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def unreadable(error: httptools.HttpParserError, piece: bytes, methods: str) -> UnreadableError:
    """What `error` of the parser is to whoever sent the `piece`."""
    match error:
        case httptools.HttpParserCallbackError() if isinstance(error.__context__, UnreadableError):
            return error.__context__
        case httptools.HttpParserCallbackError():
            return UnreadableError(HTTPStatus.BAD_REQUEST, "Its path cannot be read.")
        case httptools.HttpParserInvalidMethodError() if _REQUEST_LINE.search(piece):
            return method_not_allowed(methods)
        # Of a method that the parser knows, but not as one of HTTP, as DESCRIBE: it has no class.
        case _ if "Invalid method for HTTP" in str(error):
            return method_not_allowed(methods)
        case _:
            return UnreadableError(HTTPStatus.BAD_REQUEST, f"This is not HTTP/1.1: {error}.")


def method_not_allowed(methods: str) -> UnreadableError:
    # The path is not known here: these are all methods that any path has.
    detail = f"Methods are spelled in capitals; here are: {methods}."
    return UnreadableError(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"allow": methods})


def too_large() -> UnreadableError:
    detail = f"Path and headers may have {HEADERS_MAX_BYTES} bytes, each header counting {HEADER_BYTES} more."
    return UnreadableError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)


def note_closed(reason: str) -> None:
    """A connection is closed by this side before its client would have it so."""
    metrics.CONNECTIONS_CLOSED.labels(reason).inc()


def note_unreadable(refused: UnreadableError, client: tuple[str, int] | None) -> None:
    """Counts it, and logs it: once a minute for each status (redpacket/ops/rated_lines.py)."""
    status = refused.status
    note_closed(status.name.lower())
    host = client[0] if client else "nobody"
    logger.warning("refused %d %s: from %s", status, status.phrase, host, extra={"reason": status.name})
