"""Requests that come before the one ahead of them is answered: each gets its answer, in order, and waits as bytes."""

import asyncio
from typing import Any, cast

import pytest

from redpacket.ops.unparsed import Unparsed
from service.connection import Connection
from tests.served import GET, LONG_S, Connect, read_answer, running

BODY = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\r\n\r\n \r}"
CHUNKS = b"POST /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("size", [3, 100, 10**9])
async def test_pipelined_requests_are_answered_in_their_order_however_they_come(size: int, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        raw = b"".join((GET, BODY, CHUNKS)[n % 3] % n for n in range(300))

        async def send() -> None:
            for start in range(0, len(raw), size):
                writer.write(raw[start : start + size])
                await writer.drain()

        sending = asyncio.create_task(send())
        assert [(await read_answer(reader))[2] for _ in range(300)] == [b"/%d" % n for n in range(300)]
        await sending


async def test_what_is_behind_an_unanswered_request_is_not_parsed_and_not_read_on(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.started.acquire()
        writer.write(GET % 1 * 1_000)
        # More than the kernel takes of what is not read.
        writer.write(b"GET /2 HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 8_000 + b"\r\n\r\n")
        writer.write((GET % 3) * 1_000_000)
        connection = cast("Any", service.connection)
        assert isinstance(connection, Connection)
        async with asyncio.timeout(LONG_S):
            while not connection.flow.read_paused:
                await asyncio.sleep(0.01)
        held = len(connection._unparsed._data)
        await asyncio.sleep(0.3)
        assert not connection.pipeline
        assert 0 < len(connection._unparsed._data) == held < 300_000
        service.go.set()
        assert (await read_answer(reader))[2] == b"/wait"
        for _ in range(1_000):
            assert (await read_answer(reader))[2] == b"/1"
        assert (await read_answer(reader))[2] == b"/2"
        assert (await read_answer(reader))[2] == b"/3"


async def test_a_request_behind_one_that_closes_is_not_served(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET % 2 + GET % 3)
        assert (await read_answer(reader))[2] == b"/1"
        async with asyncio.timeout(LONG_S):
            assert await reader.read() == b""
        assert service.started.locked() is False
        await service.started.acquire()
        assert service.started.locked()  # one has begun, and no other


def pieces(*added: bytes) -> list[bytes]:
    unparsed, taken = Unparsed(), []
    for data in added:
        unparsed.add(data)
    while unparsed:
        taken.append(unparsed.take())
    return taken


def test_a_piece_ends_at_most_one_requests_headers() -> None:
    assert pieces(GET % 1) == [GET % 1]
    assert pieces(GET % 1 * 3) == [GET % 1] * 3
    assert pieces(BODY % 1) == [BODY[:-8] % 1, b"{\r\n\r\n \r}"]
    assert pieces(GET % 1 + b"GET /2 HT") == [GET % 1 + b"GET /2 HT"]
    assert pieces(b"\r\n" * 5) == [b"\r\n\r\n", b"\r\n\r\n", b"\r\n"]


def test_pieces_are_all_that_came_and_none_is_long() -> None:
    for raw in (b"x" * 100_000, GET % 1 * 5_000, b"\r\n" * 9_999, BODY % 1 * 700):
        taken = pieces(raw[:7], raw[7:5_000], raw[5_000:])
        assert b"".join(taken) == raw
        assert max(map(len, taken)) <= 4_096


def test_what_is_put_back_comes_first() -> None:
    unparsed = Unparsed()
    unparsed.add(GET % 1 * 2)
    assert unparsed.take() == GET % 1
    unparsed.put_back(GET % 0)
    unparsed.add(GET % 2)
    assert [unparsed.take() for _ in range(3)] == [GET % 0, GET % 1, GET % 2]
    assert not unparsed
