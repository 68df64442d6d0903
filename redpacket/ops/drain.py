"""How an API worker lets its clients go, and how long that takes: nobody is cut off who may be about to ask."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from typing import Protocol

from redpacket.settings import Settings

logger = logging.getLogger(__name__)

# A client that reuses a connection sends into the void if the server closes it in that moment, and cannot know whether
# it was heard. So a connection stays open until its client has asked once more, and was told to close it; or has been
# silent for so long that it has let go by itself (httpx does after 5 s, on a busy machine some seconds later), or will
# hardly ask in this very moment.
_SILENT_S = 10.0
# Whoever sends work here has to see first that this worker is not ready.
_MOVE_AWAY_MIN_S = 1.0
_LOOK_S = 0.05
# Between connecting and asking. Who takes longer has connected in advance.
FIRST_REQUEST_S = 3.0
# To end its own connections to the other parts, which holds nothing that could be lost.
_CLOSE_S = 2.0


class Connection(Protocol):
    """One that can be asked whether its client waits for anything."""

    @property
    def silent_s(self) -> float | None:
        """For how many seconds nothing has come; None while a request is under way, or once it is being closed."""

    def close_silent(self) -> None:
        """Closes it if it is silent and nothing has come that was not read yet."""


def finish_s(settings: Settings) -> float:
    """How long those who are still there get, once the worker accepts nobody any more: seconds."""
    return FIRST_REQUEST_S + settings.request_timeout_ms / 1000


def stop_s(settings: Settings) -> float:
    """Within how many seconds of SIGTERM an API worker is gone by itself."""
    return _SILENT_S + math.ceil(finish_s(settings)) + _CLOSE_S


async def move_clients_away(connections: Collection[Connection], stop_accepting: Callable[[], None]) -> None:
    """Waits for those who may be about to ask, then calls `stop_accepting`. Meanwhile every answer must ask to close.

    `connections` are those that are there at any time: they come and go.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        waited_s = loop.time() - began
        silent = [(it, silent_s) for it in list(connections) if (silent_s := it.silent_s) is not None]
        # Whoever has connected since then asks soon: not waited for here, or somebody always would be.
        silent_before = [(it, silent_s) for it, silent_s in silent if silent_s >= waited_s]
        if not silent_before and waited_s >= _MOVE_AWAY_MIN_S:
            break
        for connection, silent_s in silent_before:
            if silent_s >= _SILENT_S:
                connection.close_silent()
        await asyncio.sleep(_LOOK_S)
    stop_accepting()
    logger.info("accepts nobody any more after %.1f s; %d are still here", waited_s, len(connections))
