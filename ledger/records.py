"""Records on their way from the log to the settler: decoded, cut into transactions, counted once they are settled."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from aiokafka import ConsumerRecord

from ledger.settle.transaction import LogRecord, Settled
from redpacket.log.record import UNDECODABLE, Batch, decode_record
from redpacket.ops import metrics

logger = logging.getLogger(__name__)


def decode(
    records: Sequence[ConsumerRecord[bytes, bytes]],
) -> tuple[list[LogRecord], ConsumerRecord[bytes, bytes] | None]:
    """The records up to the first that cannot be decoded, and that one; None where all can."""
    logged: list[LogRecord] = []
    for record in records:
        raw = record.value or b""
        try:
            logged.append(LogRecord(record.offset, raw, decode_record(raw), record.timestamp))
        except UNDECODABLE:
            logger.exception("offset %d of partition %d cannot be decoded", record.offset, record.partition)
            return logged, record
    return logged, None


def chunks(records: Sequence[LogRecord], events_max: int) -> Iterator[list[LogRecord]]:
    """The records in runs of at most `events_max` events, and of at least one record."""
    chunk: list[LogRecord] = []
    events = 0
    for logged in records:
        size = len(logged.record.events) if isinstance(logged.record, Batch) else 1
        if chunk and events + size > events_max:
            yield chunk
            chunk, events = [], 0
        chunk.append(logged)
        events += size
    if chunk:
        yield chunk


def count_settled(shard: int, settled: Settled, lost: int) -> None:
    """For the metrics; every event that was set aside, and that there are such that are `lost`, is told as an error."""
    metrics.SHARD_NEXT_OFFSET.labels(shard).set(settled.next_offset)
    metrics.SETTLE_EVENTS.observe(sum(it.applied + it.repeated + it.ignored for it in settled.settlement.records))
    posted: Counter[str] = Counter()
    for posting in settled.settlement.postings:
        posted[posting.kind] += posting.amount_minor
    for kind, amount_minor in posted.items():
        metrics.POSTED.labels(kind).inc(amount_minor)
    for record in settled.settlement.records:
        metrics.SETTLED_EVENTS.labels("applied").inc(record.applied)
        metrics.SETTLED_EVENTS.labels("repeated").inc(record.repeated)
        metrics.SETTLED_EVENTS.labels("ignored").inc(record.ignored)
    if lost:
        metrics.LOST_EVENTS.inc(lost)
        logger.error(
            "shard %d: %d events below offset %d were reserved after their epoch had been fenced off, and are ignored:"
            " a Redis goes on that was left behind; run `redpacket audit`",
            *(shard, lost, settled.next_offset),
        )
    for letter in settled.settlement.dead_letters:
        metrics.DEAD_LETTERS.inc()
        logger.error("shard %d offset %d item %d set aside: %s", shard, letter.kafka_offset, letter.item, letter.reason)
