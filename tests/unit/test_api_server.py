"""What stands between a socket and the endpoints: limits on what a client sends, how long he takes, and the way out."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from redpacket.ops import drain, metrics, protocol
from redpacket.ops.drain import move_clients_away
from redpacket.ops.health import PATHS, PROBES, HealthApp
from redpacket.ops.server import listen, serving
from service.connection import Connection
from service.door import Door
from tests.served import GET, LONG_S, Connect, Service, at_end, read_answer, read_problem, running

SHORT_S = 0.2


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CLIENT_TIMEOUT_S", SHORT_S)


# What is not a request


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /#x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?a=b#x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_so_and_closed(raw: bytes, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(raw)
        assert await read_problem(reader) == (400, "invalid_request")
        assert await at_end(reader)


async def test_what_came_whole_before_nonsense_is_answered_and_nothing_after_it(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + GET % 2 + b"nonsense\r\n\r\n" + GET % 3)
        await service.started.acquire()
        service.go.set()
        assert [(await read_answer(reader))[2] for _ in range(2)] == [b"/wait", b"/2"]
        assert await read_problem(reader) == (400, "invalid_request")
        assert await at_end(reader)


async def test_nonsense_within_a_body_is_told_at_once(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await service.started.acquire()
        writer.write(b"nonsense\r\n")
        assert await read_problem(reader) == (400, "invalid_request")
        assert await at_end(reader)


@pytest.mark.parametrize("rest", [[b"nonsense\r\n"], [b"2\r\n{}{}\r\n"], [b"0\r\n", *[b"A: b\r\n" * 500] * 10]])
async def test_what_was_answered_before_its_body_came_is_not_answered_again(
    rest: list[bytes], connect: Connect
) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await read_answer(reader))[2] == b"/1"
        for piece in rest:
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert await at_end(reader)


async def test_what_cannot_be_read_behind_an_answered_request_is_told(connect: Connect) -> None:
    async with running() as service:
        for nonsense in (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", b"nonsense\r\n\r\n"):
            reader, writer = await connect(service)
            writer.write(GET % 1)
            assert (await read_answer(reader))[2] == b"/1"
            writer.write(nonsense)
            assert await read_problem(reader) == (400, "invalid_request")
            assert await at_end(reader)


UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize("size", [1, 100, 10**9])
async def test_a_wish_for_another_protocol_is_overheard_however_it_comes(size: int, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        chunked = (
            b"POST /chunks HTTP/1.1\r\nHost: x\r\n"
            + UPGRADE
            + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        )
        counted = b"POST /body HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"Content-Length: 4\r\n\r\nGET "
        raw = (
            chunked
            + b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n%b\r\n" % (n, UPGRADE) for n in range(300))
            + counted
            + GET % 300
        )
        for start in range(0, len(raw), size):
            writer.write(raw[start : start + size])
            if size == 1 and start % 500 == 0:
                await asyncio.sleep(0)
        paths = [b"/chunks", *(b"/%d" % n for n in range(300)), b"/body", b"/300"]
        assert [(await read_answer(reader))[2] for _ in paths] == paths


@pytest.mark.parametrize("wish", [b"", UPGRADE])
async def test_a_connection_of_http_1_0_ends_with_its_answer(wish: bytes, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /1 HTTP/1.0\r\n" + wish + b"\r\n")
        _, headers, body = await read_answer(reader)
        assert (headers["connection"], body) == ("close", b"/1")
        assert await at_end(reader)


@pytest.mark.parametrize("method", [b"DESCRIBE", b"ANNOUNCE", b"SETUP", b"FLUSH", b"FOO"])
async def test_a_method_of_another_protocol_is_not_allowed(method: bytes, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await read_problem(reader) == (405, "method_not_allowed")
        assert await at_end(reader)


async def test_nobody_is_told_of_the_parsers_callbacks(connect: Connect) -> None:
    async with running() as service:
        for target in (b"/\xff", b"http://[", b"x:y:z"):
            reader, writer = await connect(service)
            writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _, body = await read_answer(reader)
            assert (status, b"callback" in body) == (400, False), target


async def test_nothing_behind_a_connect_is_taken_for_a_request(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n" + GET % 2)
        assert await read_problem(reader) == (405, "method_not_allowed")
        assert await at_end(reader)


# Limits


@pytest.mark.parametrize(
    "headers",
    [
        b"A: " + b"x" * 16_384 + b"\r\n",
        b"A: x\r\n" * 500,
        b"B" * 16_384 + b": x\r\n",
    ],
)
@pytest.mark.parametrize("pieces", [1, 9])
async def test_headers_are_limited_however_they_come(headers: bytes, pieces: int, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        raw = b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
        size = len(raw) // pieces + 1
        for start in range(0, len(raw), size):
            writer.write(raw[start : start + size])
            await asyncio.sleep(0)
        assert await read_problem(reader) == (431, "headers_too_large")
        assert await at_end(reader)


async def test_a_long_path_is_limited_too(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await read_problem(reader) == (431, "headers_too_large")


async def test_a_header_without_end_is_not_kept(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        for _ in range(8):
            writer.write(b"x" * 3_000)
            await asyncio.sleep(0)
        assert await read_problem(reader) == (431, "headers_too_large")


async def test_headers_of_each_request_are_counted_anew(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        for n in range(10):
            writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n" % (n, b"x" * 10_000))
            assert (await read_answer(reader))[2] == b"/%d" % n


CHUNKED = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"


async def test_a_trailer_is_no_header(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(CHUNKED + b"0\r\nX-Request-Id: mine\r\n\r\n" + GET % 1)
        status, headers, _ = await read_answer(reader)
        assert status == 200
        assert headers["x-request-id"] != "mine"
        assert (await read_answer(reader))[2] == b"/1"


@pytest.mark.parametrize("line", [b"A: " + b"x" * 3_000 + b"\r\n", b"A" * 3_000])
async def test_trailers_are_limited(line: bytes, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(CHUNKED + b"0\r\n")
        await service.started.acquire()
        for _ in range(6):
            writer.write(line)
            await asyncio.sleep(0)
        assert await read_problem(reader) == (431, "headers_too_large")
        assert await at_end(reader)


async def test_more_than_are_let_in_are_told_at_once_and_only_probes_are_still_answered(connect: Connect) -> None:
    async with running(in_flight_max=2) as service:
        waiting = [await connect(service) for _ in range(2)]
        for _, writer in waiting:
            writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await service.started.acquire()
        reader, writer = await connect(service)
        writer.write(GET % 1)
        assert await read_problem(reader) == (503, "overloaded")
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await read_problem(reader) == (503, "overloaded")
        writer.write(b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        service.go.set()
        assert [(await read_answer(reader))[0] for reader, _ in waiting] == [200, 200]
        writer.write(GET % 1)
        assert (await read_answer(reader))[0] == 200


# Time


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("raw", [b"", b"\r\n"])
async def test_a_new_connection_on_which_nothing_is_asked_is_closed_without_an_answer(
    raw: bytes, connect: Connect
) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(raw)
        assert await at_end(reader)


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("raw", [b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n"])
async def test_a_request_that_does_not_come_ends_the_connection(raw: bytes, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(raw)
        assert await read_problem(reader) == (408, "request_timeout")
        assert await at_end(reader)


@pytest.mark.usefixtures("short_patience")
async def test_a_body_that_does_not_come_ends_the_connection(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nx")
        assert await read_problem(reader) == (408, "request_timeout")
        assert await at_end(reader)


@pytest.mark.usefixtures("short_patience")
async def test_bytes_that_trickle_do_not_help(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        ended = asyncio.create_task(read_problem(reader))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(LONG_S):
            while not ended.done():
                writer.write(b"A: b\r\n")
                await asyncio.sleep(0.02)
        assert await ended == (408, "request_timeout")


@pytest.mark.usefixtures("short_patience")
async def test_a_second_request_that_stops_halfway_ends_the_connection(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(GET % 1)
        assert (await read_answer(reader))[2] == b"/1"
        writer.write(b"GET /2 HT")
        assert await read_problem(reader) == (408, "request_timeout")
        assert await at_end(reader)


@pytest.mark.usefixtures("short_patience")
async def test_an_answer_may_take_longer_than_a_request(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(2 * SHORT_S)
        service.go.set()
        assert (await read_answer(reader))[2] == b"/wait"


@pytest.mark.usefixtures("short_patience")
async def test_a_client_that_does_not_read_is_cut_off(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3 * SHORT_S)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(LONG_S):
            received = 0
            try:
                while piece := await reader.read(2**20):
                    received += len(piece)
            except ConnectionResetError:
                pass
        assert received < 4 * 2**24


# Errors


async def test_an_error_that_was_foreseen_has_its_code(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /closed HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await read_problem(reader) == (503, "shard_closed")


async def test_an_error_that_was_not_foreseen_is_never_a_500(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n" + GET % 1)
        assert await read_problem(reader) == (503, "unavailable")
        assert (await read_answer(reader))[2] == b"/1"


async def test_an_answer_that_breaks_off_ends_the_connection(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /late-bug HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await read_answer(reader)


# The port of health and metrics


async def test_metrics_are_rendered_once_a_second_however_often_they_are_asked_for() -> None:
    clock, told = [100.0], []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            told.append(message["body"])

    health = HealthApp(lambda: "", lambda: clock[0])
    for clock[0], expected in ((100.0, 1), (100.9, 1), (101.0, 2), (101.5, 2), (200.0, 3)):
        metrics.RELAYED.inc()
        await health({"raw_path": b"/metrics", "method": "GET"}, None, send)  # type: ignore[arg-type]
        assert len(set(told)) == expected


async def test_metrics_can_be_kept_from_the_public_port(connect: Connect) -> None:
    async with running(health_paths=PROBES) as service:
        reader, writer = await connect(service)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [(await read_answer(reader))[2] for _ in range(2)] == [
            b"/metrics",
            b"live\n",
        ]  # the app's, then health's


@asynccontextmanager
async def running_ops(ready: str = "") -> AsyncIterator[Service]:
    """Only its address and its server are of use."""
    service = Service()
    with listen("127.0.0.1", 0) as listening:
        service.address = listening.getsockname()
        async with serving(HealthApp(lambda: ready), listening) as service.server:
            yield service


ENDLESS = {
    "a header": b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: ",
    "headers": b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
    "a path": b"GET /",
    "trailers": b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
}


@pytest.mark.parametrize("begun", ENDLESS.values(), ids=ENDLESS)
async def test_what_has_no_end_is_not_kept_on_the_port_of_health_either(begun: bytes, connect: Connect) -> None:
    async with running_ops() as service:
        reader, writer = await connect(service)
        writer.write(begun)
        piece = b"A: b\r\n" * 500 if begun.endswith(b"\n") else b"x" * 3_000
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(piece)
                await writer.drain()
        # Whether the answer is seen before the connection is reset is chance: that it ends is not.
        async with asyncio.timeout(LONG_S):
            with contextlib.suppress(ConnectionError):
                await reader.read()


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("raw", [b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
async def test_what_does_not_come_is_let_go_on_the_port_of_health_too(raw: bytes, connect: Connect) -> None:
    async with running_ops() as service:
        reader, writer = await connect(service)
        writer.write(raw)
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (408, "close")
        assert await at_end(reader)


async def test_health_has_one_spelling_and_is_only_read(connect: Connect) -> None:
    asked = {
        b"GET /healthz/live": 200,
        b"GET /healthz/ready": 503,
        b"GET /metrics": 200,
        b"HEAD /metrics": 200,
        b"HEAD /healthz/live": 200,
        b"HEAD /healthz/ready": 503,
        b"POST /healthz/live": 405,
        b"DELETE /metrics": 405,
        b"GET /%6detrics": 404,
        b"GET /metrics/": 404,
        b"PUT /": 404,
        b"FOO /metrics": 405,
    }
    async with running_ops("not yet") as service:
        for start, expected in asked.items():
            reader, writer = await connect(service)
            writer.write(start + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, _ = await read_answer(reader, head_only=start.startswith(b"HEAD"))
            assert (status, headers.get("allow")) == (expected, "GET, HEAD" if expected == 405 else None), start


# The way out


async def test_once_the_worker_stops_every_answer_asks_to_close(connect: Connect) -> None:
    async with running() as service:
        kept_reader, kept_writer = await connect(service)
        kept_writer.write(GET % 1)
        assert "connection" not in (await read_answer(kept_reader))[1]
        service.stop.set()
        fresh_reader, fresh_writer = await connect(service)
        for reader, writer in ((kept_reader, kept_writer), (fresh_reader, fresh_writer)):
            writer.write(GET % 2)
            status, headers, _ = await read_answer(reader)
            assert (status, headers["connection"]) == (200, "close")
            assert await at_end(reader)


async def test_what_is_under_way_is_finished_before_the_worker_ends(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.started.acquire()
        first_reader, first_writer = await connect(service)
        await asyncio.sleep(0.05)  # accepted, but it has not asked for anything yet
        service.stop.set()
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, first_writer.write, GET % 1)
        loop.call_later(0.4, service.go.set)
        answers = asyncio.gather(read_answer(reader), read_answer(first_reader))
    waited, first = await answers
    assert (waited[0], first[0]) == (200, 200)


async def test_what_takes_too_long_is_told_when_the_worker_ends(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.started.acquire()
        service.stop.set()
        problem = asyncio.create_task(read_problem(reader))
        await asyncio.sleep(0)
    assert await problem == (503, "unavailable")


async def moving_away(service: Service) -> asyncio.Task[None]:
    """What the worker does once it is told to stop."""
    service.stop.set()
    return asyncio.create_task(move_clients_away(service.server.connections, service.server.stop_accepting))


async def test_a_silent_client_keeps_its_connection_until_it_has_asked_once_more(connect: Connect) -> None:
    async with running() as service:
        clients = [await connect(service) for _ in range(3)]
        for reader, writer in clients:
            writer.write(GET % 1)
            assert (await read_answer(reader))[2] == b"/1"
        moving = await moving_away(service)
        for n, (reader, writer) in enumerate(clients):
            await asyncio.sleep(0.3 * n)
            writer.write(GET % 2)
            status, headers, _ = await read_answer(reader)
            assert (status, headers["connection"]) == (200, "close")
            assert await at_end(reader)
        await moving


async def test_whoever_comes_while_a_silent_client_is_waited_for_is_answered(connect: Connect) -> None:
    async with running() as service:
        silent_reader, silent_writer = await connect(service)
        moving = await moving_away(service)
        await asyncio.sleep(1.5)
        assert not moving.done()
        reader, writer = await connect(service)
        writer.write(GET % 1)
        assert (await read_answer(reader))[2] == b"/1"
        silent_writer.write(GET % 2)
        assert (await read_answer(silent_reader))[2] == b"/2"
        await moving


async def test_a_client_that_stays_silent_is_let_go_at_last(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_SILENT_S", SHORT_S)
    async with running() as service:
        asked_reader, asked_writer = await connect(service)
        asked_writer.write(GET % 1)
        await read_answer(asked_reader)
        never_reader, _ = await connect(service)
        moving = await moving_away(service)
        assert await at_end(asked_reader)
        assert await at_end(never_reader)
        await moving


async def test_once_nobody_is_about_to_ask_connections_wait_for_the_others_on_the_socket(connect: Connect) -> None:
    service = Service()
    door = Door(service, HealthApp(lambda: ""), PATHS, service.stop, 100)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service.address = listening.getsockname()
        own = listening.dup()
        own.setblocking(False)
        async with serving(door, own, 2.0, http=Connection) as service.server:
            await (await moving_away(service))
            reader, writer = await connect(service)
            writer.write(GET % 1)
        other = listening.dup()
        other.setblocking(False)
        async with serving(door, other, 2.0, http=Connection):
            assert (await read_answer(reader))[2] == b"/1"


async def test_a_request_that_the_loop_has_not_read_yet_keeps_its_connection_open(connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        writer.write(GET % 1)
        await read_answer(reader)
        os.write(writer.get_extra_info("socket").fileno(), GET % 2)  # and no turn of the loop in between
        service.connection.close_silent()
        assert (await read_answer(reader))[2] == b"/2"
        service.connection.close_silent()
        assert await at_end(reader)


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_request_that_has_begun_is_waited_for(asked_before: bool, connect: Connect) -> None:
    async with running() as service:
        reader, writer = await connect(service)
        if asked_before:
            writer.write(GET % 1)
            await read_answer(reader)
        writer.write(b"GET /2 HT")
        async with asyncio.timeout(LONG_S):
            while service.connection.silent_s is not None:
                await asyncio.sleep(0.01)
        service.stop.set()
        asyncio.get_running_loop().call_later(1.3, writer.write, b"TP/1.1\r\nHost: x\r\n\r\n")
        answered = asyncio.create_task(read_answer(reader))
        await asyncio.sleep(0)
    status, headers, body = await answered
    assert (status, headers["connection"], body) == (200, "close", b"/2")


async def test_less_than_a_second_to_finish_is_not_none(connect: Connect) -> None:
    async with running(drain_s=0.9) as service:
        reader, writer = await connect(service)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.started.acquire()
        service.stop.set()
        asyncio.get_running_loop().call_later(0.3, service.go.set)
        answered = asyncio.create_task(read_answer(reader))
        await asyncio.sleep(0)
    assert (await answered)[2] == b"/wait"
