"""Bad input that only shows in bytes: in one piece or many, too slowly, or of another length than it says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.endpoints import ENDPOINTS, Endpoint, named
from tests.integration.scene import Scene

LONG_S = 60.0
WITH_BODY = [it for it in ENDPOINTS if it.body is not None]
CLAIM, SEND, WALLET = (named(it) for it in ("POST /v1/packets/{id}/claims", "POST /v1/packets", "GET /v1/wallet"))

Answer = tuple[int, dict[str, str], bytes]


@asynccontextmanager
async def unchanged(scene: Scene, endpoint: Endpoint) -> AsyncIterator[None]:
    """Nothing is, by what is asked within; and then the good request works."""
    before = await scene.seen()
    yield
    assert await scene.seen() == before
    await scene.works(endpoint)


class Wire:
    """One connection, on which bytes are sent as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def end(self) -> None:
        self._writer.write_eof()

    async def answer(self, head_only: bool = False) -> Answer:
        async with asyncio.timeout(LONG_S):
            start, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            length = 0 if head_only else int(headers.get("content-length", 0))
            return int(start.split()[1]), headers, await self._reader.readexactly(length)

    async def refusal(self) -> tuple[int, str]:
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        problem = json.loads(body)
        assert problem.keys() == {"type", "title", "status", "detail", "code", "retryable"}
        return status, problem["code"]

    async def at_end(self) -> bool:
        async with asyncio.timeout(LONG_S):
            try:
                return await self._reader.read() == b""
            except ConnectionResetError:
                return True


@asynccontextmanager
async def wire(scene: Scene) -> AsyncIterator[Wire]:
    host, port = scene.system.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def head(scene: Scene, endpoint: Endpoint, *lines: str, method: str = "", path: str = "") -> bytes:
    """Of a good request, without an end of the headers' own: `lines` are added."""
    start = f"{method or endpoint.method} {path or scene.path(endpoint)} HTTP/1.1"
    fields = [f"{name}: {value}" for name, value in scene.headers(endpoint).items()]
    return "\r\n".join([start, "Host: x", *fields, *lines, "", ""]).encode()


def body_of(endpoint: Endpoint) -> bytes:
    return json.dumps(endpoint.body).encode()


def whole(scene: Scene, endpoint: Endpoint, body: bytes | None = None, **spelled: str) -> bytes:
    sent = body_of(endpoint) if body is None and endpoint.body is not None else body or b""
    return head(scene, endpoint, f"Content-Length: {len(sent)}", **spelled) + sent


async def test_pipelined_requests_good_and_bad_are_answered_in_their_order(scene: Scene) -> None:
    """Claims, which go the short way, reads and refusals of every kind, in one piece and in small ones."""
    asked: list[tuple[bytes, set[int]]] = []
    for endpoint in ENDPOINTS:
        if endpoint.path.endswith("/close"):
            continue
        good = {endpoint.status, 200}
        asked += [
            (whole(scene, endpoint, path=scene.path(endpoint) + "/x/y/z"), {404}),
            (whole(scene, endpoint, method="DELETE"), {405}),
            (whole(scene, endpoint), good),
        ]
        if endpoint.token:
            bad = whole(scene, endpoint, path=f"{scene.path(endpoint)}?x=1")
            asked += [(bad, {400}), (whole(scene, endpoint), good)]
        if endpoint.body is not None:
            asked += [(whole(scene, endpoint, b"["), {400}), (whole(scene, endpoint, b"x" * 5000), {413})]
    # The path of an operation takes all that follows as its key.
    asked = [(raw, {404} if b"GET /v1/operations/" in raw and b"/x/y/z " in raw else it) for raw, it in asked]
    stream = b"".join(raw for raw, _ in asked)
    for size in (len(stream), 1_000, 7_777):
        async with wire(scene) as one:
            sending = asyncio.create_task(one.send(*(stream[at : at + size] for at in range(0, len(stream), size))))
            for raw, statuses in asked:
                status, _, body = await one.answer()
                assert status in statuses, (raw[:200], body)
            await sending


async def test_a_good_request_before_nonsense_is_answered_and_nothing_behind_it_is_done(scene: Scene) -> None:
    async with unchanged(scene, CLAIM), wire(scene) as one:
        await one.send(head(scene, WALLET) + b"nonsense\r\n\r\n" + whole(scene, CLAIM) + whole(scene, SEND))
        assert (await one.answer())[0] == 200
        assert await one.refusal() == (400, "invalid_request")
        assert await one.at_end()


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
async def test_a_chunked_body_is_as_good_as_one_of_a_length_and_as_limited(scene: Scene, endpoint: Endpoint) -> None:
    chunked = "Transfer-Encoding: chunked"
    async with unchanged(scene, endpoint):
        for size, chunks in ((4097, 1), (100, 100)):
            async with wire(scene) as one:
                chunk = b"%x\r\n%b\r\n" % (size, b" " * size)
                await one.send(head(scene, endpoint, chunked), *[chunk] * chunks, b"0\r\n\r\n", head(scene, WALLET))
                assert await one.refusal() == (413, "too_large")
                assert (await one.answer())[0] == 200
        for nonsense in (b"x\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"2\r\n{}{}\r\n"):
            async with wire(scene) as one:
                await one.send(head(scene, endpoint, chunked) + nonsense)
                assert await one.refusal() == (400, "invalid_request")
                assert await one.at_end()
    body = body_of(endpoint)
    async with wire(scene) as one:
        await one.send(head(scene, endpoint, chunked), *(b"1\r\n%c\r\n" % it for it in body), b"0\r\n\r\n")
        assert (await one.answer())[0] in (endpoint.status, 200)


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
async def test_a_body_that_is_longer_or_shorter_than_it_says_is_refused(scene: Scene, endpoint: Endpoint) -> None:
    body = b'{"a"' if endpoint.body == {} else body_of(endpoint)
    async with unchanged(scene, endpoint):
        async with wire(scene) as one:
            await one.send(head(scene, endpoint, f"Content-Length: {len(body) - 1}") + body)
            assert await one.refusal() == (400, "invalid_request")
            assert await one.at_end()
        async with wire(scene) as one:
            # The next request is taken for a part of this one's body, and so is not done.
            await one.send(head(scene, endpoint, f"Content-Length: {len(body) + 5}") + body + whole(scene, endpoint))
            assert await one.refusal() == (400, "invalid_request")
            assert await one.at_end()
        async with wire(scene) as one:
            await one.send(head(scene, endpoint, f"Content-Length: {len(body) + 5}") + body)
            one.end()
        for lie in ("x", "-1", "+2", "2, 3", "0x2", "9" * 40):
            async with wire(scene) as one:
                await one.send(head(scene, endpoint, f"Content-Length: {lie}") + body)
                assert await one.refusal() in ((400, "invalid_request"), (413, "too_large")), lie
        for both in (("Content-Length: 2", "Content-Length: 3"), ("Content-Length: 2", "Transfer-Encoding: chunked")):
            async with wire(scene) as one:
                await one.send(head(scene, endpoint, *both) + body)
                assert await one.refusal() == (400, "invalid_request")
                assert await one.at_end()


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
async def test_who_waits_for_a_100_gets_it_just_where_his_body_is_wanted(scene: Scene, endpoint: Endpoint) -> None:
    body = body_of(endpoint)
    expect = "Expect: 100-continue"
    async with unchanged(scene, endpoint), wire(scene) as one:
        await one.send(head(scene, endpoint, expect, f"Content-Length: {len(body)}", path="/v1/nothing"))
        assert await one.refusal() == (404, "not_found")
    async with wire(scene) as one:
        await one.send(head(scene, endpoint, expect, f"Content-Length: {len(body)}"))
        assert (await one.answer())[0] == 100
        await one.send(body)
        assert (await one.answer())[0] in (endpoint.status, 200)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_headers_that_are_too_large_are_refused(scene: Scene, endpoint: Endpoint) -> None:
    async with unchanged(scene, endpoint):
        for lines in (["A: " + "x" * 16_384], ["A: x"] * 500, ["B" * 16_384 + ": x"]):
            async with wire(scene) as one:
                await one.send(head(scene, endpoint, *lines))
                assert await one.refusal() == (431, "headers_too_large")
                assert await one.at_end()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_a_wish_for_another_protocol_is_overheard(scene: Scene, endpoint: Endpoint) -> None:
    """Java's client asks for HTTP/2 in its first request: the request, its body and what follows are heard."""
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    body = b"" if endpoint.body is None else body_of(endpoint)
    async with wire(scene) as one:
        await one.send(head(scene, endpoint, *wish, f"Content-Length: {len(body)}") + body + head(scene, WALLET))
        assert (await one.answer())[0] == endpoint.status
        assert json.loads((await one.answer())[2])["owner"] == scene.owner("alice")
    if endpoint.body is not None:
        async with wire(scene) as one:
            await one.send(head(scene, endpoint, *wish, "Content-Length: 1") + b"[" + head(scene, WALLET))
            assert await one.refusal() == (400, "invalid_request")
            assert (await one.answer())[0] == 200


async def test_what_is_asked_for_by_halves_is_let_go_and_not_done(scene: Scene) -> None:
    """Every endpoint at once: headers, or a body, whose end does not come."""

    async def late(raw: bytes) -> None:
        async with wire(scene) as one:
            await one.send(raw)
            assert await one.refusal() == (408, "request_timeout")
            assert await one.at_end()

    async with unchanged(scene, CLAIM), asyncio.TaskGroup() as group:
        for endpoint in ENDPOINTS:
            group.create_task(late(head(scene, endpoint)[:-2]))
            if endpoint.body is not None:
                group.create_task(late(whole(scene, endpoint)[:-1]))
                group.create_task(late(head(scene, endpoint, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n"))


@pytest.mark.parametrize("method", ["FOO", "get", "PROPFINDX", "DESCRIBE", "SETUP", "CONNECT"])
async def test_a_method_that_nobody_knows_is_not_allowed(scene: Scene, method: str) -> None:
    for endpoint in ENDPOINTS:
        async with wire(scene) as one:
            await one.send(head(scene, endpoint, method=method))
            status, headers, body = await one.answer()
            assert (status, json.loads(body)["code"], headers["allow"]) == (
                405,
                "method_not_allowed",
                "GET, HEAD, POST",
            )
            assert await one.at_end()


async def test_what_the_parser_takes_for_http_but_is_not_is_refused(scene: Scene) -> None:
    for endpoint in ENDPOINTS:
        good = head(scene, endpoint, "Content-Length: 0")
        spoilt = [
            good.replace(b"Host: x\r\n", b""),
            good.replace(b"Host: x\r\n", b"Host: x\r\nHost: x\r\n"),
            good.replace(b" HTTP/1.1", b" HTTP/2.0"),
            good.replace(b" HTTP/1.1", b"#x HTTP/1.1"),
        ]
        for raw in spoilt:
            async with wire(scene) as one:
                await one.send(raw)
                assert await one.refusal() == (400, "invalid_request")
                assert await one.at_end()


async def test_head_is_answered_as_get_is_but_without_a_body(scene: Scene) -> None:
    reads = [it for it in ENDPOINTS if it.method == "GET"]
    others = {it.path for it in ENDPOINTS} - {it.path for it in reads}
    async with wire(scene) as one:
        for endpoint in reads:
            await one.send(head(scene, endpoint, method="HEAD") + head(scene, endpoint))
            status, headers, _ = await one.answer(head_only=True)
            expected, got_headers, body = await one.answer()
            assert (status, headers.keys()) == (expected, got_headers.keys()), endpoint
            assert headers["content-length"] == str(len(body)) or endpoint.path == "/metrics"
        for endpoint in (it for it in ENDPOINTS if it.path in others):
            await one.send(head(scene, endpoint, method="HEAD"))
            assert (await one.answer(head_only=True))[0] == 405
