"""Every metric of every process, in one list. Names and units by Prometheus's conventions: seconds, bytes, `_total` for
what only grows; `_minor` are minor units of the deployment's currency. docs/operations.md says what to watch."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_ITEMS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_EVENTS = (1, 5, 20, 100, 500, 1_000, 2_000, 5_000)

# The API. Outcomes: created, repeated, pending, or the code of a refusal.
OUTCOMES = Counter("redpacket_requests_total", "Requests that move money, by what was answered.", ["kind", "outcome"])
REQUEST_SECONDS = Histogram("redpacket_request_seconds", "From a request to its answer.", buckets=_SECONDS)
IN_FLIGHT = Gauge("redpacket_requests_in_flight", "Requests that are not answered yet.")
CONNECTIONS = Gauge("redpacket_connections", "Connections of clients.")
CONNECTIONS_CLOSED = Counter(
    "redpacket_connections_closed_total",
    "Connections that this worker closed by itself.",
    ["reason"],
)
CONNECTIONS_FULL = Counter(
    "redpacket_connections_full_total", "How often no more connections were accepted, since there were too many."
)

# The path of an outflow, in the API and in the shard's owner: the steps of one batch.
RESERVE_SECONDS = Histogram("redpacket_reserve_seconds", "One call of reserve, with its confirms.", buckets=_SECONDS)
PUBLISH_SECONDS = Histogram("redpacket_publish_seconds", "From record to Kafka's acknowledgement.", buckets=_SECONDS)
CONFIRM_SECONDS = Histogram(
    "redpacket_confirm_seconds", "From Kafka's acknowledgement to the confirm.", buckets=_SECONDS
)
BATCH_ITEMS = Histogram("redpacket_batch_items", "Items in one call of reserve.", buckets=_ITEMS)
LOADS = Counter("redpacket_loads_total", "What was brought into Redis from the ledger.", ["kind"])

# The shards' owners: each shard is in the metrics of one worker, its owner.
SHARD_OPEN = Gauge("redpacket_shard_open", "1 where the shard's owner last saw it open.", ["shard"])
SHARD_OPENINGS = Counter("redpacket_shard_openings_total", "Openings by their outcome.", ["outcome"])
OUTBOX_ENTRIES = Gauge("redpacket_outbox_entries", "Batches that are reserved and not yet confirmed.", ["shard"])
OUTBOX_AGE_SECONDS = Gauge("redpacket_outbox_age_seconds", "How long the oldest of them has been waiting.", ["shard"])
ESCROW = Gauge("redpacket_shard_escrow_minor", "Held for packets that are not over yet, by the accounts.", ["shard"])
UNBALANCED = Gauge(
    "redpacket_shard_unbalanced_minor",
    "What open packets have left by their rows, less what the accounts hold for them: anything but 0 is an alarm.",
    ["shard"],
)
LETTERS_WAITING = Gauge("redpacket_shard_dead_letters_waiting", "What a person has to decide about.", ["shard"])
OF_OWNED_SHARDS = (SHARD_OPEN, OUTBOX_ENTRIES, OUTBOX_AGE_SECONDS, ESCROW, UNBALANCED, LETTERS_WAITING)
RELAYED = Counter("redpacket_relayed_entries_total", "Entries published by the owner because nobody else did.")
EXPIRED = Counter("redpacket_expired_packets_total", "Packets whose rest went back because their time was over.")
CHORE_BUGS = Counter(
    "redpacket_chore_bugs_total", "Errors in an owner's chore that nobody expected; see the log.", ["chore"]
)
EVICTIONS = Counter("redpacket_evictions_total", "What has left Redis because nobody used it.", ["kind"])
UNLINKED = Counter("redpacket_unlinked_keys_total", "Keys of older epochs that were deleted.")
REDIS_BYTES = Gauge("redpacket_redis_used_bytes", "What Redis has allocated, as last asked for.")

# The ledger.
SETTLE_SECONDS = Histogram("redpacket_settle_seconds", "One settlement transaction.", buckets=_SECONDS)
SETTLE_EVENTS = Histogram("redpacket_settle_events", "Events in one settlement transaction.", buckets=_EVENTS)
SETTLED_EVENTS = Counter("redpacket_settled_events_total", "Events in settled records, by outcome.", ["outcome"])
LOST_EVENTS = Counter(
    "redpacket_lost_events_total",
    "Events ignored that were reserved after their epoch had been fenced off: somebody may have been told 201.",
)
POSTED = Counter("redpacket_posted_minor_total", "What was moved, by the kind of posting.", ["kind"])
DEAD_LETTERS = Counter("redpacket_dead_letters_total", "Events set aside because they contradict the ledger.")
SHARD_NEXT_OFFSET = Gauge("redpacket_shard_next_offset", "The first record not settled yet.", ["shard"])
SHARD_LAG = Gauge("redpacket_shard_lag_records", "Records in the partition that are not settled yet.", ["shard"])
SHARD_UNSETTLED_AGE_SECONDS = Gauge(
    "redpacket_shard_unsettled_age_seconds",
    "How old the oldest record is that is not settled yet, by Kafka's time of it; 0 where all is.",
    ["shard"],
)
SHARD_HELD = Gauge("redpacket_shard_held", "1 where a record waits for a person to decide about it.", ["shard"])
OF_SETTLED_SHARDS = (SHARD_NEXT_OFFSET, SHARD_LAG, SHARD_UNSETTLED_AGE_SECONDS, SHARD_HELD)


def forget_shard(gauges: tuple[Gauge, ...], shard: int) -> None:
    """The shard is another worker's from now on: what was last seen of it here must not be told any more."""
    for gauge in gauges:
        gauge.remove(shard)
