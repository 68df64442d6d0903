"""A part that refuses is asked again after a pause, and what a library says of it is bounded: shown by counts."""

import asyncio
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

from msgspec import structs

from redpacket.commit.path import CommitPath
from redpacket.ids import OperationId
from redpacket.log.producer import LogUnavailableError
from redpacket.ops.rated_lines import LIBRARY_LINES_MAX, RatedLines
from redpacket.shard.client import ShardClosedError
from tests.deployment import LONG_S, Deployment
from tests.proxy import proxied

_ROUNDS, _DOWN_S = 2, 2.0
_CLAIMING = 8
# Of one round, and of all the clients here: some 20 connections and 90 lines. Without the pauses it is thousands once
# somebody has read metadata while the broker gave up its partitions.
_CONNECTIONS_MAX, _SAID_MAX = 300, 600
# Places in aiokafka that tell of a broker that is away.
_PLACES_MAX = 15


class _Lines(logging.Handler):
    """Counts what is said, and what of that a worker's log would have."""

    def __init__(self) -> None:
        super().__init__()
        self.said = self.written = 0
        self._rated = RatedLines()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("aiokafka"):
            self.said += 1
            self.written += self._rated.filter(record)


@contextmanager
def _counted_lines() -> Iterator[_Lines]:
    lines = _Lines()
    logging.getLogger().addHandler(lines)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(lines)


@asynccontextmanager
async def _claiming(path: CommitPath, packet: OperationId) -> AsyncIterator[None]:
    """People claim all the time: it is they who find the broker gone, and who ask who leads a partition now."""
    stop, people = asyncio.Event(), itertools.count()

    async def claim() -> None:
        while not stop.is_set():
            with suppress(LogUnavailableError, ShardClosedError, TimeoutError):
                await path.claim_share(packet, f"p{next(people)}")
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CLAIMING):
            group.create_task(claim())
        try:
            yield
        finally:
            stop.set()


async def test_a_kafka_that_was_stopped_is_asked_now_and_then_and_libraries_say_so_seldom(
    deployment: Deployment,
) -> None:
    kafka = deployment.servers.child("kafka")
    async with proxied(deployment, "kafka") as (proxy, there):
        behind = replace(deployment, settings=structs.replace(deployment.settings, **there))
        async with behind.ledger(), behind.worker() as worker:
            packet = await behind.sent(worker, "alice", 100_000, 10_000)
            for _ in range(_ROUNDS):
                async with _claiming(worker.path, packet):
                    await asyncio.sleep(0.5)
                    connections = proxy.accepted
                    with _counted_lines() as lines:
                        async with kafka.down(signal.SIGTERM):
                            await asyncio.sleep(_DOWN_S)
                    assert proxy.accepted - connections < _CONNECTIONS_MAX
                    assert lines.said < _SAID_MAX
                    assert lines.written <= _PLACES_MAX * LIBRARY_LINES_MAX
                    await kafka.wait_ready(LONG_S)
                await behind.settled(worker)
