"""Writes of one step of the event loop go out as one, and none is lost when the connection is closed."""

import asyncio
from typing import Any

from service.transport import GatheringTransport


class _Socket:
    """What uvloop's transport does that matters here: closed, it refuses writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        self.written.append(b"EOF")

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def _gathering() -> tuple[_Socket, Any]:
    socket = _Socket()
    return socket, GatheringTransport(socket, asyncio.get_running_loop())  # type: ignore[arg-type]


async def test_head_and_body_go_out_together_in_their_order() -> None:
    socket, transport = _gathering()
    transport.write(b"head ")
    transport.write(b"body")
    assert socket.written == []
    await asyncio.sleep(0)
    assert socket.written == [b"head body"]


async def test_what_is_written_later_goes_out_by_itself() -> None:
    socket, transport = _gathering()
    for part in (b"100 continue", b"answer"):
        transport.write(part)
        await asyncio.sleep(0)
    assert socket.written == [b"100 continue", b"answer"]


async def test_a_close_sends_what_was_written_before_it() -> None:
    socket, transport = _gathering()
    transport.write(b"refusal")
    transport.close()
    assert (socket.written, socket.closed) == ([b"refusal"], True)
    await asyncio.sleep(0)
    assert socket.written == [b"refusal"]


async def test_a_client_that_goes_away_first_fails_nothing() -> None:
    socket, transport = _gathering()
    transport.write(b"answer")
    transport.abort()
    await asyncio.sleep(0)
    assert socket.written == []


async def test_nothing_overtakes_what_was_written_before_it() -> None:
    socket, transport = _gathering()
    transport.write(b"head ")
    transport.writelines([b"bo", b"dy"])
    transport.write_eof()
    assert b"".join(socket.written) == b"head bodyEOF"
    await asyncio.sleep(0)
    assert b"".join(socket.written) == b"head bodyEOF"
