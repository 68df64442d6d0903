"""HTTP/1.1 by uvicorn, with the limits of time that it lacks, and refusals in words of ours.

uvicorn has no limit on how long a client may take to send a request or to read its answer, and answers some of what it
cannot read with an error of its own. What is overridden here and in redpacket/ops/parsing.py is pinned by the lock file
and shown by tests.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from redpacket.ops.parsing import PiecewiseProtocol
from redpacket.ops.unreadable import UnreadableError, note_closed, note_unreadable

# From a request's first byte (or the connection) to its last, and for a client to go on reading.
CLIENT_TIMEOUT_S = 10.0


class LimitedProtocol(PiecewiseProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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

    def parse(self) -> bool:
        has_request = super().parse()
        # Not between requests, where nothing has come yet: that is the keep-alive's time.
        if not has_request and self._reading is None:
            self._reading = self.loop.call_later(CLIENT_TIMEOUT_S, self._refuse_late)
        elif has_request and self._reading is not None:
            self._reading.cancel()
            self._reading = None
        return has_request

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(CLIENT_TIMEOUT_S, self._give_up)

    def resume_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def _give_up(self) -> None:
        note_closed("unread")
        self.transport.abort()

    def _refuse_late(self) -> None:
        self._reading = None
        if self.cycle is None and not self._in_headers:
            # Nothing was asked: an answer would be taken for that to what is.
            note_closed("silent")
            self.transport.close()
        else:
            detail = f"It has to arrive within {CLIENT_TIMEOUT_S:g} s."
            self.refuse(UnreadableError(HTTPStatus.REQUEST_TIMEOUT, detail))

    def refuse(self, refused: UnreadableError) -> None:
        """Answers what cannot be read and closes; what came before it whole gets its own answer first."""
        if self.transport.is_closing():
            return
        self._refused = True
        note_unreadable(refused, self.client)
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
