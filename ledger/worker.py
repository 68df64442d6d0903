"""The ledger worker: wires itself together here and nowhere else."""

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

import asyncpg

from ledger.consume import LedgerConsumer
from ledger.owner.conservation import Conservation
from ledger.owner.days import keep_days_ahead
from ledger.owner.ends import PacketEnds
from ledger.owner.housekeeping import Chore, Housekeeping
from ledger.owner.janitor import Janitor
from ledger.owner.open import Opener
from ledger.owner.relay import Relay
from ledger.owner.seal import DaySealer
from ledger.owner.shut import ShutEpochs
from ledger.owner.standing import keep_ending_standing_sessions
from ledger.settle.transaction import Settler
from redpacket.books.database import Books, keep_session
from redpacket.books.deployment import check_deployment, read_keys
from redpacket.books.locks import lock_shortage
from redpacket.commit.parts import start_parts
from redpacket.commit.place import check_redis, deployments_redis, mark_redis
from redpacket.ids import shard_of
from redpacket.limits import SETTLING_CONNECTIONS
from redpacket.log.topic import cluster_id
from redpacket.ops.health import HealthApp
from redpacket.ops.server import listen, serving
from redpacket.settings import Settings

logger = logging.getLogger(__name__)

# Every look-up of a settlement is by key. Left to itself the planner keeps the plan that was right when the tables were
# empty, and reads all accounts for each transaction.
_ALWAYS_BY_KEY = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
_RELAY_PAUSE_S = 0.25
_ENDS_PAUSE_S = 1.0
_SEALING_PAUSE_S = 5.0
# It reads all open packets of a shard.
_CONSERVATION_PAUSE_S = 30.0
# A worker that is stopped or cut off in the middle of a transaction must not hold its shards' rows against the next
# owner: Postgres ends its session. Where Postgres cannot tell, another worker does, by this name (owner/standing.py).
_NEVER_HOLD = {
    "idle_in_transaction_session_timeout": "5000",
    "tcp_user_timeout": "5000",
    "tcp_keepalives_idle": "5",
    "application_name": "redpacket ledger",
}
SESSION = _ALWAYS_BY_KEY | _NEVER_HOLD


async def run_ledger(settings: Settings, stop: asyncio.Event) -> None:
    """Settles and opens until `stop`. Raises DeploymentError, SettingsError, ListenError, or what the parts raise."""
    try:
        await _run(settings, stop)
    except BaseExceptionGroup as group:
        # The tasks run in groups; what ended them is one of these, and the first tells the person.
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group


async def _run(settings: Settings, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as resources:
        books = Books(settings)
        await books.start()
        resources.push_async_callback(books.aclose)
        keys = read_keys(settings)
        deployment = await check_deployment(books, settings, keys, await cluster_id(settings))
        if shortage := await lock_shortage(books):
            logger.warning("%s", shortage)

        timeout_s = settings.postgres_timeout_ms / 1000
        pool = await asyncpg.create_pool(
            settings.postgres_url,
            min_size=0,
            max_size=SETTLING_CONNECTIONS,
            timeout=timeout_s,
            command_timeout=timeout_s,
            server_settings=SESSION,
            reset=keep_session,
        )
        resources.callback(pool.terminate)
        parts = await start_parts(resources, settings, keys, deployment.topic, books)
        mark = await deployments_redis(books, deployment)
        await check_redis(parts.client, settings, mark)
        await mark_redis(parts.client, settings, mark)

        group = await resources.enter_async_context(asyncio.TaskGroup())
        ends = PacketEnds(parts.client, books, pool, parts.path)
        chores = (
            Chore("relay", Relay(parts.client, parts.repeater).relay, _RELAY_PAUSE_S),
            Chore("closing", ends.finish_closing, _ENDS_PAUSE_S),
            Chore("expiry", ends.expire, _ENDS_PAUSE_S),
            Chore("sealing", DaySealer(pool).seal, _SEALING_PAUSE_S),
            Chore("conservation", Conservation(books).compare, _CONSERVATION_PAUSE_S),
        )
        shut = ShutEpochs(pool)
        resources.callback(group.create_task(shut.keep_reading()).cancel)
        opener = Opener(pool, parts.client, parts.producer, mark)
        housekeeping = Housekeeping(group, parts.client, opener, shut, chores)
        janitor = Janitor(settings, parts.client, books, lambda: housekeeping.open)
        resources.callback(housekeeping.own, set())
        settler = Settler(pool, partial(shard_of, shards=deployment.shards))
        resources.callback(group.create_task(keep_days_ahead(settler)).cancel)
        resources.callback(group.create_task(keep_ending_standing_sessions(pool)).cancel)
        resources.callback(group.create_task(janitor.keep()).cancel)
        consumer = LedgerConsumer(settings, deployment.topic, settler, housekeeping.own)
        health = HealthApp(partial(_why_not_ready, housekeeping))
        await resources.enter_async_context(serving(health, listen(settings.ops_host, settings.ops_port)))
        logger.info("ledger worker on topic %s", deployment.topic)
        await consumer.run(stop)


def _why_not_ready(housekeeping: Housekeeping) -> str:
    if not housekeeping.owned:
        return "no shard is owned here yet"
    if closed := housekeeping.owned - housekeeping.open.keys():
        return f"shards not open: {', '.join(map(str, sorted(closed)))}"
    return ""
