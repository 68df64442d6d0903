"""uvicorn's HTTP/1.1, with a limit on headers, and parsing only the request that is served next.

uvicorn parses all that it has read: a byte of a pipelined request becomes 85 bytes of objects, so 50 MB of them became
gigabytes. Here the bytes behind an unanswered request stay bytes, and the connection is not read meanwhile: TCP's flow
control makes the client wait.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from redpacket.ops.unparsed import Unparsed
from redpacket.ops.unreadable import (
    HEADER_BYTES,
    HEADERS_MAX_BYTES,
    UnreadableError,
    method_not_allowed,
    too_large,
    unreadable,
)


class PiecewiseProtocol(HttpToolsProtocol):
    """One connection. `methods`: those that its app has, for whoever asks for one that nobody knows."""

    methods = "GET, HEAD"
    flow: "_Flow"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = Unparsed()
        self._in_headers = False
        # Behind the chunks of a body.
        self._in_trailers = False
        # What has come of headers or trailers that are not complete: the parser tells of one at its end only.
        self._unfinished_bytes = 0
        self._asks_upgrade = False
        # Nothing that comes is a request any more.
        self._refused = False

    def refuse(self, refused: UnreadableError) -> None:
        """Answers what cannot be read, if it can be answered, and closes."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if not self._refused:
            self._unparsed.add(data)
            self.parse()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unparsed or self._in_headers:
            self._unset_keepalive_if_required()
            self.parse()

    def parse(self) -> bool:
        """Parses up to the end of the next request. Returns whether a complete request waits for its answer; if not, it
        is the client's turn to send."""
        unparsed = self._unparsed
        while not (has_request := self._has_request()) and unparsed:
            if self._refused or self.transport.is_closing():
                unparsed.clear()
            else:
                self._feed(unparsed.take())
        self.flow.hold(bool(unparsed))
        return has_request

    def _has_request(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and (not cycle.more_body or bool(self.pipeline))

    def _feed(self, piece: bytes) -> None:
        self._unfinished_bytes += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as stopped:
            self._overhear_upgrade(piece[stopped.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(unreadable(error, piece, self.methods))
        else:
            if self._unfinished_bytes > HEADERS_MAX_BYTES and (self._in_headers or self._in_trailers):
                self.refuse(too_large())

    def _overhear_upgrade(self, rest: bytes) -> None:
        """The parser has stopped at headers that ask for another protocol, as Java's client does. They are read once
        more without the wish: else the body, and every request behind, would be lost."""
        version = self.parser.get_http_version().encode()
        start = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self._unparsed.put_back(start + fields + b"\r\n" + rest)

    # What the parser finds

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
        size = len(self.url) + sum([len(name) + len(value) + HEADER_BYTES for name, value in self.headers])
        if size > HEADERS_MAX_BYTES:
            raise too_large()
        if why_not := self._why_not_http():
            raise UnreadableError(HTTPStatus.BAD_REQUEST, why_not)
        if self.parser.get_method() == b"CONNECT":
            raise method_not_allowed(self.methods)  # what follows is not HTTP
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


class _Flow(FlowControl):
    """uvicorn resumes reading whenever a request is answered or its body is awaited: not while held."""

    _held = False

    def hold(self, held: bool) -> None:
        if held != self._held:
            self._held = held
            (self.pause_reading if held else self.resume_reading)()

    def resume_reading(self) -> None:
        if not self._held:
            super().resume_reading()
