"""How far one shard is settled as far as its owner knows, and since when the next record has been waiting."""

import time
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from redpacket.ops import metrics


class Progress:
    """Of one assignment of a shard. Its age goes on growing whatever its owner waits for: it is worked out whenever
    somebody asks for the metrics."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._ended = False
        self._assigned_at_s = time.time()
        # The offset of the first record that is not settled, as last known: kept while Postgres does not tell.
        self._settled: int | None = None
        # What was last read from the log: offset, and Kafka's time of the record.
        self._polled: list[tuple[int, float]] = []
        # Since when there is known to be a record at this offset.
        self._behind: tuple[int, float] | None = None
        metrics.SHARD_UNSETTLED_AGE_SECONDS.labels(shard).set_function(self.age_s)

    def end(self) -> None:
        """The shard is another worker's from now on: nothing is told of it here any more."""
        self._ended = True
        metrics.forget_shard(metrics.OF_SETTLED_SHARDS, self._shard)

    def note_settled(self, next_offset: int) -> None:
        self._settled = next_offset

    def note_polled(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """What has been read and is to be settled next."""
        self._polled = [(record.offset, record.timestamp / 1000) for record in records]

    def note_end(self, end: int) -> None:
        """Where the partition ends: the offset that its next record will get."""
        if self._settled is None or self._ended:
            return
        metrics.SHARD_LAG.labels(self._shard).set(max(0, end - self._settled))
        if end <= self._settled:
            self._behind = None
        elif self._behind is None or self._behind[0] != self._settled:
            self._behind = (self._settled, time.time())

    def age_s(self) -> float:
        """How old the oldest record is that is not settled, in seconds; 0.0 where all is settled.

        By Kafka's time of it where it has been read. Else it is at least as old as what is returned: since when it was
        seen, or, where nobody knows up to where the shard is settled, since when this worker has had the shard.
        """
        return max(0.0, time.time() - since_s) if (since_s := self._waiting_since_s()) is not None else 0.0

    def _waiting_since_s(self) -> float | None:
        if self._settled is None:
            return self._assigned_at_s
        for offset, at_s in self._polled:
            if offset >= self._settled:
                return at_s
        return self._behind[1] if self._behind is not None and self._behind[0] == self._settled else None
