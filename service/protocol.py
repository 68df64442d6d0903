"""HTTP/1.1 by uvicorn, with the limits that it lacks.

uvicorn has no limit on headers and none on how long a client may take to send a request or to read its answer, and
tells its own refusals as plain text. What is overridden here is pinned by the lock file and shown by tests.
"""

import asyncio
import re
import sys
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from redpacket.ops.request_id import new_request_id
from service.problems import MEDIA_TYPE, Code, ProblemError
from service.transport import GatheringTransport

HEADERS_MAX_BYTES = 16_384
# What each header costs beside its text.
_HEADER_BYTES = 32
# From a request's first byte (or the connection) to its last, and for a client to go on reading.
CLIENT_TIMEOUT_S = 10.0

# Of a method that nobody knows. The body before it may end without a line end.
_REQUEST_LINE = re.compile(rb"(?<![\w-])(?!(?:GET|POST) )[\w-]+ \S+ HTTP/1\.[01]\r?\n")


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = False
        # Behind the chunks of a body.
        self._in_trailers = False
        # What has come of headers or trailers that are not complete: the parser tells of one at its end only.
        self._unfinished_bytes = 0
        self._headers_too_large = False
        # What the parser has at hand, and what it is to have next.
        self._parsed = self._unparsed = b""
        self._asks_upgrade = False
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(GatheringTransport(transport, self.loop))  # type: ignore[arg-type]
        self._reading = self.loop.call_later(CLIENT_TIMEOUT_S, self._refuse_late)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        self._unparsed = data
        while parsed := self._unparsed:
            self._parsed, self._unparsed = parsed, b""
            super().data_received(parsed)
        self._parsed = b""  # a connection may idle for long
        if self._unfinished_bytes > HEADERS_MAX_BYTES and (self._in_headers or self._in_trailers):
            self._headers_too_large = True
            self.send_400_response("")
        # Not between requests, where nothing has come yet: that is the keep-alive's time.
        if self._in_headers or self.cycle is None or self.cycle.more_body or self.cycle.response_complete:
            if self._reading is None:
                self._reading = self.loop.call_later(CLIENT_TIMEOUT_S, self._refuse_late)
        elif self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._in_trailers = False
        self._unfinished_bytes = 0

    def on_chunk_header(self) -> None:
        # The last chunk, which is empty, has no end of its own before its trailers.
        self._in_trailers = True
        self._unfinished_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._in_trailers = False
        super().on_body(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Whoever looks at headers on the way has not seen a trailer: it says neither who calls nor what for.
        if not self._in_trailers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum([len(name) + len(value) + _HEADER_BYTES for name, value in self.headers])
        if size > HEADERS_MAX_BYTES:
            self._headers_too_large = True
            raise httptools.HttpParserError("headers too large")
        self._in_headers = False
        self._asks_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self._asks_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_trailers = False
        if not self._asks_upgrade:
            super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(CLIENT_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this for whatever its parser refuses."""
        error = sys.exception()
        if self._headers_too_large:
            detail = f"Path and headers may have {HEADERS_MAX_BYTES} bytes, each header counting {_HEADER_BYTES} more."
            self._refuse(ProblemError(Code.HEADERS_TOO_LARGE, detail))
        elif isinstance(error, httptools.HttpParserInvalidMethodError) and _REQUEST_LINE.search(self._parsed):
            # The path is not known here: these are all methods that any path has.
            detail = "Methods are spelled in capitals; the API has GET and POST."
            self._refuse(ProblemError(Code.METHOD_NOT_ALLOWED, detail, {"allow": "GET, POST"}))
        else:
            self._refuse(ProblemError(Code.INVALID_REQUEST, f"This is not HTTP/1.1: {error}."))

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn calls this where the parser has stopped at headers that ask for another protocol, as Java's client
        does. They are read once more without the wish: else the body, and every request behind, would be lost."""
        error = sys.exception()
        assert isinstance(error, httptools.HttpParserUpgrade)
        if not self._asks_upgrade:
            self.cycle.keep_alive = False  # CONNECT: what follows is not HTTP
            return
        start = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self._unparsed = start + fields + b"\r\n" + self._parsed[error.args[0] :]

    def _refuse_late(self) -> None:
        self._reading = None
        if self.cycle is not None and self.cycle.response_complete and not self._in_headers:
            # It was answered before its body had come.
            self.transport.close()
            return
        self._refuse(ProblemError(Code.REQUEST_TIMEOUT, f"It has to arrive within {CLIENT_TIMEOUT_S:g} s."))

    def _refuse(self, problem: ProblemError) -> None:
        """Answers what cannot be read and closes; what came before it whole gets its own answer first."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_headers or not cycle.more_body or self.pipeline or cycle.response_started:
                # The client would take this for the answer to that one. It closes after the last of them.
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(_response(problem))
        self.transport.close()


def _response(problem: ProblemError) -> bytes:
    body, status = problem.body(), problem.code.status
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close", **problem.headers}
    # What could not be read may have had one; the answer has one in any case.
    headers["x-request-id"] = new_request_id()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
