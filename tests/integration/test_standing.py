"""A worker that stands still wherever it likes in a transaction holds its shard's rows for seconds, not for as long as
it stands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from aiokafka import TopicPartition

from ledger.consume import _EVENTS_MAX, LedgerConsumer, _Owned
from ledger.progress import Progress
from ledger.settle.transaction import LogRecord, Settler
from ledger.worker import SESSION
from redpacket.log.record import Fence, encode_record
from tests.deployment import LONG_S, Deployment
from tests.proxy import Proxy, proxied

# Of what a settlement sends after its BEGIN, the first that is not sent any more: by then the shard's row is locked.
# Before some of these Postgres knows that the session is idle; before others it takes it for an active one.
_FIRST_UNSENT = (3, 4, 5, 6)


def _stand_still_before(proxy: Proxy, unsent: int) -> asyncio.Event:
    """Set once it does."""
    sent: list[bytes] = []
    stands = asyncio.Event()

    def is_unsent(data: bytes) -> bool:
        if sent or b"BEGIN" in data:
            sent.append(data)
        if len(sent) > unsent:
            stands.set()
        return stands.is_set()

    proxy.deaf_to = is_unsent
    return stands


@asynccontextmanager
async def _settling_until(deployment: Deployment, shard: int, unsent: int) -> AsyncIterator[None]:
    """A worker that settles the first record of the shard, and is stopped in the middle of it: its connection stays."""
    async with proxied(deployment, "postgres") as (proxy, there):
        stands = _stand_still_before(proxy, unsent)
        pool = await asyncpg.create_pool(there["postgres_url"], min_size=0, max_size=1, server_settings=SESSION)
        record = Fence(1)
        settled = Settler(pool, lambda _: shard).settle(shard, [LogRecord(0, encode_record(record), record)], 0)
        settling = asyncio.create_task(settled)
        try:
            async with asyncio.timeout(LONG_S):
                await stands.wait()
            yield
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
            pool.terminate()


async def test_the_next_owner_opens_and_settles_its_shards(deployment: Deployment) -> None:
    async with AsyncExitStack() as workers:
        for shard, unsent in enumerate(_FIRST_UNSENT):
            await workers.enter_async_context(_settling_until(deployment, shard, unsent))
        async with deployment.ledger(), deployment.worker() as worker:
            await deployment.settled(worker)


async def test_after_its_session_was_ended_a_worker_settles_less_at_once(deployment: Deployment) -> None:
    """A slow one may have been taken for one that stands still: with as much as before it would be so for ever."""
    record = Fence(1)
    chunk = [LogRecord(0, encode_record(record), record)]
    async with proxied(deployment, "postgres") as (proxy, there):
        pool = await asyncpg.create_pool(there["postgres_url"], min_size=0, max_size=1, server_settings=SESSION)
        settler = Settler(pool, lambda _: 0)
        consumer = LedgerConsumer(deployment.settings, deployment.topic, settler, lambda _: None)
        consumer._consumer.assign([TopicPartition(deployment.topic, 0)])
        told: list[Exception] = []
        owned = consumer._shards[0] = _Owned(0, Progress(0), told.append, position=0)
        try:
            proxy.fatal = b"BEGIN"
            assert not await consumer._settle_chunk(owned, chunk)
            assert told
            assert not isinstance(told[0], TimeoutError)
            assert (owned.position, owned.events_max) == (None, _EVENTS_MAX // 4)
        finally:
            pool.terminate()
            await consumer._consumer.stop()
