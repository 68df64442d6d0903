"""Relay: entries whose publisher is gone are published by the shard's owner, so that nothing stays unconfirmed."""

from redpacket.commit.repeat import Repeater
from redpacket.ops import metrics
from redpacket.shard.client import ShardClient
from redpacket.shard.outbox import survey_outbox

# Below the age at which nothing new is reserved any more (outbox_age_max_ms), above that at which a request that waits
# repeats its entry by itself.
_RELAY_AFTER_MS = 2_000
_RELAYED_AT_ONCE = 16


class Relay:
    def __init__(self, client: ShardClient, repeater: Repeater) -> None:
        self._client = client
        self._repeater = repeater

    async def relay(self, shard: int) -> None:
        """Publishes and confirms what is old by now, the oldest first. Raises as Repeater."""
        survey = await survey_outbox(self._client, shard, _RELAY_AFTER_MS, _RELAYED_AT_ONCE)
        metrics.OUTBOX_ENTRIES.labels(shard).set(survey.entries)
        metrics.OUTBOX_AGE_SECONDS.labels(shard).set(survey.oldest_age_ms / 1000)
        for entry in survey.older:
            if await self._repeater.repeat(shard, entry):
                metrics.RELAYED.inc()
