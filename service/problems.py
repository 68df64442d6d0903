"""Every refusal of the API: RFC 9457 problem details, from one table of codes."""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from redpacket.books.database import BooksUnavailableError
from redpacket.commit.amounts import AmountsBusyError
from redpacket.log.producer import LogUnavailableError
from redpacket.shard.client import MemoryFullError, ShardClosedError, ShardUnreachableError

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

MEDIA_TYPE = "application/problem+json"
# Jittered, so that those who were refused together do not come back together.
_RETRY_AFTER_MAX_S = 3

_NOT_KNOWN = "What became of the request is not known: the same request again (and the same key) resolves it."


class Code(Enum):
    """The `code` that clients act on, its status, its title, and whether the same request may succeed later."""

    INVALID_REQUEST = "invalid_request", 400, "The request is not valid", False
    IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing", 400, "An Idempotency-Key is required", False
    UNAUTHENTICATED = "unauthenticated", 401, "A valid token is required", False
    INSUFFICIENT_FUNDS = "insufficient_funds", 402, "The wallet does not hold enough", False
    NOT_ALLOWED = "not_allowed", 403, "This token may not do this", False
    NOT_FOUND = "not_found", 404, "There is no such thing", False
    NOT_CLAIMED = "not_claimed", 404, "The caller has no share of this packet", False
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "There is no such method here", False
    REQUEST_TIMEOUT = "request_timeout", 408, "The request did not arrive in time", True
    SOLD_OUT = "sold_out", 409, "Every share is taken", False
    LIMIT_EXCEEDED = "limit_exceeded", 409, "A limit would be exceeded", False
    PACKET_EXPIRED = "packet_expired", 410, "The packet has expired", False
    PACKET_CLOSED = "packet_closed", 410, "The packet is closed", False
    TOO_LARGE = "too_large", 413, "The request is too large", False
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 422, "This Idempotency-Key had other parameters", False
    HEADERS_TOO_LARGE = "headers_too_large", 431, "The request's headers are too large", False
    OVERLOADED = "overloaded", 503, "More is asked for than can be done", True
    SHARD_CLOSED = "shard_closed", 503, "This part of the system is being opened", True
    UNAVAILABLE = "unavailable", 503, "A part of the system does not answer", True

    def __init__(self, code: str, status: int, title: str, retryable: bool) -> None:
        self.code = code
        self.status = status
        self.title = title
        self.retryable = retryable


class Problem(Struct, frozen=True):
    """RFC 9457, and two fields of ours: `code` is stable, `retryable` says whether the same request may succeed."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool


class ProblemError(Exception):
    """A refusal. `detail` is for people."""

    def __init__(self, code: Code, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self._headers = headers or {}

    @property
    def headers(self) -> dict[str, str]:
        """Those that belong to it beside its media type."""
        headers = dict(self._headers)
        if self.code.status in (429, 503):
            headers["retry-after"] = str(random.randint(1, _RETRY_AFTER_MAX_S))  # noqa: S311
        return headers

    def body(self) -> bytes:
        code = self.code
        type = f"urn:redpacket:problem:{code.code}"
        return msgspec.json.encode(Problem(type, code.title, code.status, self.detail, code.code, code.retryable))


def problem_of(error: Exception) -> ProblemError:
    """The refusal that `error` is answered with; one that nobody expected is logged with its trace, and never told."""
    match error:
        case ProblemError():
            return error
        case ShardClosedError():
            return ProblemError(Code.SHARD_CLOSED, "Nothing was changed. It opens again by itself: ask the same again.")
        case MemoryFullError():
            return ProblemError(Code.OVERLOADED, "Nothing was changed: memory is short. Ask the same again.")
        case AmountsBusyError():
            detail = "Too many large packets are looked at just now. What was claimed stands: ask the same again."
            return ProblemError(Code.OVERLOADED, detail)
        case ShardUnreachableError() | BooksUnavailableError() | LogUnavailableError() | TimeoutError():
            logger.debug("unavailable: %r", error)  # by the thousand while a part is away: it is counted, not told
            return ProblemError(Code.UNAVAILABLE, _NOT_KNOWN)
        case _:
            logger.error("unexpected: %r", error, exc_info=error)
            return ProblemError(Code.UNAVAILABLE, _NOT_KNOWN)


async def answer_problem(send: Send, problem: ProblemError) -> None:
    """A whole response in two messages."""
    body = problem.body()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    packed = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.code.status, "headers": packed})
    await send({"type": "http.response.body", "body": body})
