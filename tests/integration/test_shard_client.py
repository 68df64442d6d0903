"""The connections to Redis, which outlive the Redis that they led to."""

import asyncio

from redpacket.shard.fence import fence_state
from tests.deployment import Deployment


async def test_connections_that_were_cut_while_nobody_used_them_cost_nobody_a_request(deployment: Deployment) -> None:
    async with deployment.worker() as worker, deployment.redis() as server:
        at_once = [fence_state(worker.client, shard % deployment.settings.shards) for shard in range(10)]
        assert len(await asyncio.gather(*at_once)) == 10
        await server.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.5)  # until this process has seen it
        for shard in range(deployment.settings.shards):
            await fence_state(worker.client, shard)
