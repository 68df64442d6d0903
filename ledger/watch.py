"""Notices a consumer that has stopped reading although the log goes on, or that cannot rejoin its group.

aiokafka's consumer was seen to stand still after a rejoin (its issues 847, 1154). A worker that stands still is ended,
and started anew by whoever runs it; until then nothing is wrong but the delay.
"""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ledger.progress import Progress

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 2.0
_STUCK_AFTER_S = 20.0
_CALL_TIMEOUT_S = 2.0


class ConsumerStuckError(Exception):
    """The log has records that this consumer should have read long ago, or it is in no group although Kafka answers."""


class ProgressWatch:
    """Compares where the shards are with where their partitions end."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._looked_at_s = 0.0
        # By shard: the position that was behind, and since when.
        self._behind: dict[int, tuple[int, float]] = {}
        self._rejoining_since_s: float | None = None

    async def look(self, owned: Mapping[int, Progress], positions: Mapping[int, int], *, rejoining: bool) -> None:
        """Now and then; `positions` are of those of the `owned` shards that are being read: not where Postgres does not
        tell, or a person has to decide. `rejoining`: who reads which is not settled.

        Raises ConsumerStuckError.
        """
        if not rejoining:
            self._rejoining_since_s = None
        now_s = asyncio.get_running_loop().time()
        since_s = now_s - self._looked_at_s
        if since_s < _LOOK_AGAIN_S or not (owned or rejoining):
            return
        if since_s > 2 * _LOOK_AGAIN_S:
            # This process did not look: it was stopped, or waited for Postgres. Nothing follows from old readings.
            self._forget()
        self._looked_at_s = now_s
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                # Any partition will do where it is only asked whether Kafka is there.
                asked = [TopicPartition(self._topic, shard) for shard in owned or (0,)]
                ends = await self._consumer.end_offsets(asked)
        except (KafkaError, TimeoutError) as error:
            logger.warning("the partitions' ends cannot be read: %r", error)
            self._forget()
            return
        if rejoining:
            self._wait_for_group(now_s)
        for shard, progress in owned.items():
            progress.note_end(ends[TopicPartition(self._topic, shard)])
        for shard, position in positions.items():
            self._compare(shard, position, ends[TopicPartition(self._topic, shard)], now_s)
        self._behind = {shard: behind for shard, behind in self._behind.items() if shard in positions}

    def _forget(self) -> None:
        self._behind.clear()
        self._rejoining_since_s = None

    def _wait_for_group(self, now_s: float) -> None:
        if self._rejoining_since_s is None:
            self._rejoining_since_s = now_s
        elif now_s - self._rejoining_since_s > _STUCK_AFTER_S:
            raise ConsumerStuckError(f"the group could not be rejoined for {_STUCK_AFTER_S:.0f} s, Kafka answers")

    def _compare(self, shard: int, position: int, end: int, now_s: float) -> None:
        behind = self._behind.get(shard)
        if position >= end or behind is None or behind[0] != position:
            self._behind[shard] = (position, now_s)
        elif now_s - behind[1] > _STUCK_AFTER_S:
            raise ConsumerStuckError(f"shard {shard}: at {position} for {_STUCK_AFTER_S:.0f} s, the log ends at {end}")
