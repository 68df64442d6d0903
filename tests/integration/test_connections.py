"""Connections as strangers open them, on real workers that share a listening socket."""

import asyncio
import os
import re
import resource
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from msgspec.structs import replace

from redpacket.settings import settings_environ
from redpacket.stack.ports import free_ports, url_of
from tests.deployment import LONG_S, Deployment
from tests.integration.api import Make, send
from tests.system import COMMAND, System

MIB = 2**20
TINY = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
PROBE = b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Api:
    """An API worker in a process of its own."""

    process: Process
    ops_url: str

    @property
    def resident_bytes(self) -> int:
        (pages,) = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1:2]
        return int(pages) * resource.getpagesize()

    async def told(self, metric: str) -> float:
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"{self.ops_url}/metrics")).text
        return sum(float(value) for value in re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def api(deployment: Deployment, *options: str, files: int | None = None, **changed: int) -> AsyncIterator[Api]:
    """`files`: the soft limit that it is started with."""
    (port,) = free_ports(1)
    settings = replace(deployment.settings, ops_port=port, **changed)
    passed = [int(options[1])] if options[0] == "--fd" else []
    limit = [] if files is None else ["prlimit", f"--nofile={files}:"]
    process = await asyncio.create_subprocess_exec(
        *(*limit, *COMMAND, "api", *options),
        pass_fds=passed,
        stdout=DEVNULL,
        env={**os.environ, **settings_environ(settings)},
    )
    made = Api(process, f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(LONG_S), httpx.AsyncClient(trust_env=False) as http:
            while True:
                assert process.returncode is None
                with suppress(httpx.TransportError):
                    if (await http.get(f"{made.ops_url}/healthz/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)  # it holds nothing, and its clients here are gone
        await process.wait()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG_S):
        while not await holds():
            await asyncio.sleep(0.1)


async def probed(address: tuple[str, int]) -> asyncio.StreamWriter:
    """A new connection that was answered once."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(PROBE)
    async with asyncio.timeout(LONG_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    return writer


async def test_a_full_worker_leaves_the_next_client_to_the_other_and_accepts_again(deployment: Deployment) -> None:
    async with AsyncExitStack() as resources:
        listener = resources.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_000))
        address = listener.getsockname()
        fd = ("--fd", str(listener.fileno()))
        first, second = [
            await resources.enter_async_context(api(deployment, *fd, files=600, connections_max=20)) for _ in range(2)
        ]
        # Both may have as many files as the system lets them.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for worker in (first, second):
            assert resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        async with second.suspended():
            idle = [await asyncio.open_connection(*address) for _ in range(20)]
            await until(lambda: _equals(first, "redpacket_connections", 20))
            waiting = [await asyncio.open_connection(*address) for _ in range(10)]  # in the kernel
        for _ in range(10):
            (await probed(address)).close()
        assert await first.told("redpacket_connections") == 20
        assert await first.told("redpacket_connections_full_total") >= 1
        for _, writer in (*idle, *waiting):
            writer.close()
        await until(lambda: _equals(first, "redpacket_connections", 0))
        async with second.suspended():
            (await probed(address)).close()


async def _equals(worker: Api, metric: str, value: float) -> bool:
    return await worker.told(metric) == value


async def test_a_connection_without_a_good_token_is_not_kept_for_long(system: System, client: Make, nonce: str) -> None:
    """One reads, one claims by the short way (service/claims.py), one has a bad token, one has none."""
    packet = await send(client, "alice", nonce)
    url, bearer = urlsplit(system.url), f"Authorization: Bearer {system.token(f'bob.{nonce}')}"
    claim = f"POST /v1/packets/{packet['id']}/claims"
    asked = {"GET /v1/wallet": bearer, claim: bearer, "GET /v1/wallet/entries": bearer + "x", "GET /healthz/live": ""}
    opened = {start: await asyncio.open_connection(url.hostname, url.port) for start in asked}

    async def ask(start: str) -> bytes:
        reader, writer = opened[start]
        lines = [f"{start} HTTP/1.1", "Host: x", "Content-Length: 0", *filter(None, [asked[start]]), "", ""]
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(LONG_S):
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = re.findall(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length))
        return head.split()[1]

    # A claim whose token was not seen before takes the long way, too.
    assert [await ask(start) for start in asked] == [b"200", b"201", b"401", b"200"]
    assert await ask(claim) == b"200"
    for start in ("GET /v1/wallet/entries", "GET /healthz/live"):
        async with asyncio.timeout(LONG_S):
            assert await opened[start][0].read() == b""
    assert [await ask(start) for start in ("GET /v1/wallet", claim)] == [b"200", b"200"]
    for _, writer in opened.values():
        writer.close()


async def test_the_memory_of_a_worker_does_not_grow_with_what_is_pipelined(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as listener:
        async with api(deployment, "--fd", str(listener.fileno())) as worker:
            before = worker.resident_bytes
            highest = 0

            async def flood() -> None:
                """2.5 MB of requests, and no look at the answers but to make room for the next ones."""
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                reading = asyncio.create_task(reader.read(2**30))
                try:
                    with suppress(ConnectionError):
                        for _ in range(100):
                            writer.write(TINY * 1_000)
                            await writer.drain()
                finally:
                    reading.cancel()
                    writer.transport.abort()

            flooding = [asyncio.create_task(flood()) for _ in range(20)]
            loop = asyncio.get_running_loop()
            until_s = loop.time() + 4
            while loop.time() < until_s:
                highest = max(highest, worker.resident_bytes)
                await asyncio.sleep(0.05)
            for task in flooding:
                task.cancel()
            await asyncio.gather(*flooding, return_exceptions=True)
            assert highest - before < 50 * MIB
            await until(lambda: _equals(worker, "redpacket_connections", 0))
            assert worker.resident_bytes - before < 50 * MIB
            (await probed(listener.getsockname())).close()


async def test_a_worker_listens_on_an_address_of_ipv6(deployment: Deployment) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    (port,) = free_ports(1)
    async with (
        api(deployment, "--host", "::1", "--port", str(port)),
        httpx.AsyncClient(base_url=url_of("::1", port), trust_env=False) as http,
    ):
        assert (await http.get("/healthz/ready")).text == "ready\n"
