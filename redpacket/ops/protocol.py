"""HTTP/1.1 by uvicorn, with the limits that it lacks.

uvicorn has no limit on headers and none on how long a client may take to send a request or to read its answer, and
answers some of what it cannot read with an error of its own. What is overridden here is pinned by the lock file and
shown by tests.
"""

import asyncio
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_MAX_BYTES = 16_384
# What each header costs beside its text.
_HEADER_BYTES = 32
# From a request's first byte (or the connection) to its last, and for a client to go on reading.
CLIENT_TIMEOUT_S = 10.0

# Of a method that nobody knows. The body before it may end without a line end.
_REQUEST_LINE = re.compile(rb"(?<![\w-])(?!(?:GET|POST) )[\w-]+ \S+ HTTP/1\.[01]\r?\n")


class UnreadableError(Exception):
    """What came is no request, or none that is read to its end. `detail` is for people."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `methods`: those that its app has, for whoever asks for one that nobody knows."""

    methods = "GET"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = False
        # Behind the chunks of a body.
        self._in_trailers = False
        # What has come of headers or trailers that are not complete: the parser tells of one at its end only.
        self._unfinished_bytes = 0
        # What the parser has at hand, and what it is to have next.
        self._parsed = self._unparsed = b""
        self._asks_upgrade = False
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
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
            self._refuse(_too_large())
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
            raise _too_large()
        if why_not := self._why_not_http():
            raise UnreadableError(HTTPStatus.BAD_REQUEST, why_not)
        if self.parser.get_method() == b"CONNECT":
            raise self._method_not_allowed()  # what follows is not HTTP
        self._asks_upgrade = self.parser.should_upgrade()
        if not self._asks_upgrade:
            super().on_headers_complete()
        self._in_headers = False  # not before: what is refused is the request that these are of

    def _why_not_http(self) -> str:
        """What the parser lets through, or ''."""
        version, hosts = self.parser.get_http_version(), [name for name, _ in self.headers].count(b"host")
        if version not in ("1.0", "1.1"):
            return f"This is not HTTP/1.1: it says HTTP/{version}."
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            return "A request has one header Host."
        if b"#" in self.url:
            return "A # is nothing that is sent: it has to be percent-encoded."
        return ""

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
        if error is not None and isinstance(error.__context__, UnreadableError):
            self._refuse(error.__context__)
        elif _of_another_protocol(error) or (
            isinstance(error, httptools.HttpParserInvalidMethodError) and _REQUEST_LINE.search(self._parsed)
        ):
            self._refuse(self._method_not_allowed())
        elif isinstance(error, httptools.HttpParserCallbackError):
            self._refuse(UnreadableError(HTTPStatus.BAD_REQUEST, "Its path cannot be read."))
        else:
            self._refuse(UnreadableError(HTTPStatus.BAD_REQUEST, f"This is not HTTP/1.1: {error}."))

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn calls this where the parser has stopped at headers that ask for another protocol, as Java's client
        does. They are read once more without the wish: else the body, and every request behind, would be lost."""
        error = sys.exception()
        assert isinstance(error, httptools.HttpParserUpgrade)
        version = self.parser.get_http_version().encode()
        start = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self._unparsed = start + fields + b"\r\n" + self._parsed[error.args[0] :]

    def _method_not_allowed(self) -> UnreadableError:
        # The path is not known here: these are all methods that any path has.
        detail = f"Methods are spelled in capitals; here are: {self.methods}."
        return UnreadableError(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"allow": self.methods})

    def _refuse_late(self) -> None:
        self._reading = None
        detail = f"It has to arrive within {CLIENT_TIMEOUT_S:g} s."
        self._refuse(UnreadableError(HTTPStatus.REQUEST_TIMEOUT, detail))

    def _refuse(self, refused: UnreadableError) -> None:
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
        elif cycle is not None and not self._in_headers:
            # It was answered before its body had come.
            self.transport.close()
            return
        self.transport.write(self._response(refused))
        self.transport.close()

    def _response(self, refused: UnreadableError) -> bytes:
        status = refused.status
        headers, body = self.tell(refused)
        headers |= {"content-length": str(len(body)), "connection": "close"}
        lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def tell(self, refused: UnreadableError) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer, in the words of its port."""
        return {"content-type": "text/plain; charset=utf-8", **refused.headers}, f"{refused.detail}\n".encode()


def _of_another_protocol(error: BaseException | None) -> bool:
    """Whether it tells of a method that the parser knows, but not as one of HTTP, as DESCRIBE. It has no class."""
    return "Invalid method for HTTP" in str(error)


def _too_large() -> UnreadableError:
    detail = f"Path and headers may have {HEADERS_MAX_BYTES} bytes, each header counting {_HEADER_BYTES} more."
    return UnreadableError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
