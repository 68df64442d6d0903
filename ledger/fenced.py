"""Events that were ignored although no opening explains it: they were reserved after their epoch had been fenced off.

Redis is closed before a Fence is written, so what an older epoch still sends behind it was reserved before. What was
reserved later comes from a Redis that nobody had closed, and that has maybe confirmed it to somebody.

`FencedEpochs` (redpacket/commit/epochs.py) keeps workers from believing such a Redis; this tells where it did not.
"""

from collections import deque
from collections.abc import Sequence

from ledger.settle.decide import SettledRecord
from ledger.settle.transaction import LogRecord
from redpacket.log.record import Batch, Fence

# Reservations have Redis's time and Fences that of the worker who wrote them: so far their clocks may be apart. Less
# than a worker may believe a Redis that was left behind (commit/epochs.py), else just that would not be seen.
CLOCKS_APART_MS = 100
_FENCES_KEPT = 64


class Fences:
    """By when the epochs of one shard were fenced off, as far as this worker knows: some maybe earlier, none later."""

    def __init__(self, epoch_fenced: int, now_ms: int) -> None:
        self._fenced = deque([(epoch_fenced, now_ms)], maxlen=_FENCES_KEPT)

    def lost(self, records: Sequence[LogRecord], settled: Sequence[SettledRecord]) -> int:
        """How many events of these records, which are settled now, were ignored without an opening to explain it."""
        lost = 0
        for logged, counts in zip(records, settled, strict=True):
            match logged.record:
                case Fence(epoch) if counts.applied:
                    self._fenced.append((epoch, logged.at_ms))
                case Batch(epoch=epoch, at_ms=at_ms) if counts.ignored and self._was_fenced(epoch, at_ms):
                    lost += counts.ignored
        return lost

    def _was_fenced(self, epoch: int, at_ms: int) -> bool:
        fenced_ms = next((by_ms for fenced, by_ms in self._fenced if fenced > epoch), None)
        return fenced_ms is not None and at_ms > fenced_ms + CLOCKS_APART_MS
