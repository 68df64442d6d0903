"""What is written within one step of the event loop goes out at once: uvicorn writes head and body of an answer apart,
which is two system calls here, two segments, and two awakenings of the client."""

import asyncio
from collections.abc import Iterable
from typing import Any


class GatheringTransport:
    """A transport in all but its writes, which wait for the end of the step. None is lost by `close`."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(data)

    # What is sent in any other way comes after what waits.

    def writelines(self, list_of_data: Iterable[bytes]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        data = b"".join(self._gathered)
        self._gathered.clear()
        if data and not self.is_closing():  # the client may have gone meanwhile
            self._transport.write(data)
