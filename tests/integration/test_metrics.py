"""What is seen from outside: each metric where its process says it is, and conservation all the time."""

import asyncio
import itertools
import re
from pathlib import Path

import asyncpg
import httpx
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from ledger.owner.conservation import Conservation
from redpacket.ops import metrics
from tests.deployment import LONG_S, Deployment, claimed
from tests.integration.api import Make, claim, send
from tests.system import System

GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"


def _declared() -> set[str]:
    """As they are exposed: a counter's name ends in _total."""
    names = set()
    for collector in vars(metrics).values():
        if isinstance(collector, Counter | Gauge | Histogram):
            (metric,) = collector.describe()
            names.add(f"{metric.name}_total" if metric.type == "counter" else metric.name)
    return names


def test_the_guide_tells_of_every_metric_and_of_no_other() -> None:
    assert set(re.findall(r"`(redpacket_[a-z_]+)[`{]", GUIDE.read_text())) == _declared()


async def _samples(system: System, kind: str, sample: str) -> list[float]:
    """The values of a sample in all workers of a kind."""
    found: list[float] = []
    async with httpx.AsyncClient(trust_env=False) as http:
        for child in system.state.children:
            if child.name.startswith(kind):
                exposed = (await http.get(f"http://127.0.0.1:{child.port}/metrics")).text
                found += map(float, re.findall(rf"^{sample}(?:{{.*}})? (\S+)$", exposed, re.MULTILINE))
    return found


async def _count(system: System, kind: str, sample: str) -> float:
    return sum(await _samples(system, kind, sample))


async def test_a_claim_is_counted_step_by_step(system: System, client: Make, nonce: str) -> None:
    steps = [
        ("api", "redpacket_request_seconds_count"),
        ("api", "redpacket_reserve_seconds_count"),
        ("api", "redpacket_publish_seconds_count"),
        ("api", "redpacket_confirm_seconds_count"),
        ("api", "redpacket_batch_items_count"),
        ("api", "redpacket_requests_total"),
        ("ledger", "redpacket_settle_seconds_count"),
        ("ledger", "redpacket_settle_events_count"),
        ("ledger", "redpacket_settled_events_total"),
        ("ledger", "redpacket_posted_minor_total"),
    ]
    packet = await send(client, "alice", nonce)
    before = [await _count(system, *step) for step in steps]
    assert (await claim(client, "bob", packet["id"])).status_code == 201
    async with asyncio.timeout(LONG_S):
        for step, count in zip(steps, before, strict=True):
            while await _count(system, *step) <= count:
                await asyncio.sleep(0.05)
    # Each is asked for by the request that looks, and by no other.
    assert await _count(system, "api", "redpacket_requests_in_flight") == 0


async def test_every_shard_is_told_by_its_owner_alone(system: System) -> None:
    async with asyncio.timeout(LONG_S):
        while await _samples(system, "ledger", "redpacket_shard_open") != [1.0] * 16:
            await asyncio.sleep(0.1)
        while await _samples(system, "ledger", "redpacket_outbox_entries") != [0.0] * 16:
            await asyncio.sleep(0.1)
    assert await _samples(system, "ledger", "redpacket_shard_held") == [0.0] * 16


async def _unsettled(system: System) -> tuple[float, float]:
    """Records that are not settled, and the age of the oldest, as the workers tell it."""
    while True:
        lags = await _samples(system, "ledger", "redpacket_shard_lag_records")
        ages = await _samples(system, "ledger", "redpacket_shard_unsettled_age_seconds")
        if len(lags) == len(ages) == 16:
            return sum(lags), max(ages)
        # Metrics are rendered once a second: those of a worker that has just got its shards may be from before.
        await asyncio.sleep(0.1)


async def test_while_postgres_does_not_settle_lag_and_age_go_on_growing_and_then_are_nothing(
    system: System, client: Make, nonce: str
) -> None:
    packet = await send(client, "alice", nonce, shares=50)
    people = (f"p{n}" for n in itertools.count())
    async with asyncio.timeout(LONG_S):
        while await _unsettled(system) != (0, 0):
            await asyncio.sleep(0.1)
        connection = await asyncpg.connect(system.settings.postgres_url)
        try:
            async with connection.transaction():
                # As a migration holds it, or somebody at a console. Who claims does not notice.
                await connection.execute("LOCK TABLE shard IN ACCESS EXCLUSIVE MODE")
                seen_lag = seen_age_s = 0.0
                for _ in range(3):
                    for _ in range(3):
                        assert (await claim(client, next(people), packet["id"])).status_code == 201
                    wanted_lag, wanted_age_s = seen_lag + 3, seen_age_s + 2.0
                    while seen_lag < wanted_lag or seen_age_s < wanted_age_s:
                        await asyncio.sleep(0.1)
                        seen_lag, seen_age_s = await _unsettled(system)
        finally:
            await connection.close()
        while await _unsettled(system) != (0, 0):
            await asyncio.sleep(0.1)


async def test_what_packets_have_left_is_what_the_accounts_hold_for_them(deployment: Deployment) -> None:
    async with deployment.ledger(), deployment.worker() as worker:
        packet = await deployment.sent(worker, "alice", 1_000, 5)
        claim = claimed(await worker.path.claim_share(packet, "bob"))
        left_minor = 1_000 - await deployment.amount_of(worker, packet, claim)
        await deployment.settled(worker)
        conservation, shard = Conservation(worker.books), {"shard": str(packet.shard)}
        await conservation.compare(packet.shard)
        assert REGISTRY.get_sample_value("redpacket_shard_escrow_minor", shard) == left_minor
        assert REGISTRY.get_sample_value("redpacket_shard_unbalanced_minor", shard) == 0
        # Somebody changes a row by hand.
        await deployment.rows("UPDATE packet SET total_minor = total_minor + 7 WHERE id = $1", str(packet))
        await conservation.compare(packet.shard)
        assert REGISTRY.get_sample_value("redpacket_shard_unbalanced_minor", shard) == 7
