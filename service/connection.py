"""A connection that is never closed on a request that has come: how a worker parts from its clients."""

import asyncio
import select
from typing import Any

from redpacket.ops.drain import FIRST_REQUEST_S
from redpacket.ops.unreadable import note_closed
from service.protocol import ApiProtocol

# How uvicorn serves them; the floor of the bench is served alike.
SERVED: dict[str, Any] = {"proxy_headers": False, "timeout_keep_alive": 75, "backlog": 4_096}
# Between the requests of somebody who has shown no good token: room is kept for those who have.
STRANGER_S = 10
# In the `state` of a request's scope, where its caller is known.
KNOWN = "known"


class Connection(ApiProtocol):
    """One connection, as redpacket.ops.drain wants it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._silent_since_s = 0.0
        self.timeout_keep_alive = min(STRANGER_S, self.config.timeout_keep_alive)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._silent_since_s = self.loop.time()

    def on_response_complete(self) -> None:
        if KNOWN in self.cycle.scope["state"]:
            self.timeout_keep_alive = self.config.timeout_keep_alive
        super().on_response_complete()
        self._silent_since_s = self.loop.time()

    @property
    def silent_s(self) -> float | None:
        answered = self.cycle is None or self.cycle.response_complete
        if self._in_headers or not answered or self.transport.is_closing():
            return None
        return self.loop.time() - self._silent_since_s

    def close_silent(self) -> None:
        if self.silent_s is not None and not self._has_unread():
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        note_closed("silent")
        self.close_silent()

    def shutdown(self) -> None:
        """Called once nobody is accepted any more. Whoever still asks is told to close (service/door.py)."""
        if self.silent_s is None:
            if not self._in_headers:  # else uvicorn would look at the request before this one, and close
                super().shutdown()
        elif self.cycle is None:
            self.loop.call_later(FIRST_REQUEST_S, self.close_silent)
        else:
            self.close_silent()

    def _has_unread(self) -> bool:
        """Whether the kernel holds what the loop was too busy to read: closed now, it would be answered by a reset."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))
