"""A generator of our own, in a process of its own, where wrk is not there: the same arguments, the same line of JSON.

Run as `python -m loadtest.bench.fire PORT CONNECTIONS FILE SECONDS AGAIN` (see fire.lua).
"""

import asyncio
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import httptools
import msgspec
import uvloop

from loadtest.bench.load import Fired, read_requests


class Shots:
    """The requests in their order, until the time is over or none is left, and what became of them."""

    def __init__(self, requests: list[bytes], seconds: float, *, again: bool) -> None:
        self._requests: Iterator[bytes] = cycle(requests) if again else iter(requests)
        self._began_s = self._ended_s = time.monotonic()
        self._until_s = self._began_s + seconds if seconds else float("inf")
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self._latencies_s = array("d")

    def next(self) -> bytes | None:
        request = next(self._requests, None) if time.monotonic() < self._until_s else None
        if request is not None:
            self.sent += 1
        return request

    def note(self, status: int, latency_s: float) -> None:
        self.statuses[status] += 1
        self._latencies_s.append(latency_s)
        self._ended_s = time.monotonic()

    def fired(self) -> Fired:
        latencies_ms = sorted(1000 * latency_s for latency_s in self._latencies_s) or [0.0]
        p50_ms, p99_ms = (latencies_ms[len(latencies_ms) * part // 100] for part in (50, 99))
        statuses = {str(status): count for status, count in sorted(self.statuses.items())}
        return Fired(self._began_s, self._ended_s, self.sent, statuses, p50_ms, p99_ms)


class Gun(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, shots: Shots) -> None:
        self._shots = shots
        self._parser = httptools.HttpResponseParser(self)
        self._sent_s = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._fire()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._shots.note(self._parser.get_status_code(), time.monotonic() - self._sent_s)
        self._fire()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _fire(self) -> None:
        if request := self._shots.next():
            self._sent_s = time.monotonic()
            self._transport.write(request)
        else:
            self._transport.close()


async def fire(port: int, connections: int, shots: Shots) -> Fired:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: Gun(shots), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.wait([gun.done for _, gun in opened])
    return shots.fired()


def main() -> None:
    port, connections, file, seconds, again = sys.argv[1:]
    requests = read_requests(Path(file))
    fired = uvloop.run(_fire(int(port), int(connections), requests, float(seconds), again == "1"))
    print(msgspec.json.encode(fired).decode())


async def _fire(port: int, connections: int, requests: list[bytes], seconds: float, again: bool) -> Fired:
    return await fire(port, connections, Shots(requests, seconds, again=again))


if __name__ == "__main__":
    main()
