"""Every metric of every process, in one list. Names and units by Prometheus's conventions."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_ITEMS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

# The path of an outflow, in the API and in the shard's owner.
RESERVE_SECONDS = Histogram("redpacket_reserve_seconds", "One call of reserve, with its confirms.", buckets=_SECONDS)
PUBLISH_SECONDS = Histogram("redpacket_publish_seconds", "From record to Kafka's acknowledgement.", buckets=_SECONDS)
BATCH_ITEMS = Histogram("redpacket_batch_items", "Items in one call of reserve.", buckets=_ITEMS)
LOADS = Counter("redpacket_loads_total", "What was brought into Redis from the ledger.", ["kind"])
OUTCOMES = Counter("redpacket_requests_total", "Requests that move money, by what was answered.", ["kind", "outcome"])

# The shards' owners.
OUTBOX_ENTRIES = Gauge("redpacket_outbox_entries", "Batches that are reserved and not yet confirmed.", ["shard"])
OUTBOX_AGE_SECONDS = Gauge("redpacket_outbox_age_seconds", "How long the oldest of them has been waiting.", ["shard"])
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
SETTLED_EVENTS = Counter("redpacket_settled_events_total", "Events in settled records, by outcome.", ["outcome"])
DEAD_LETTERS = Counter("redpacket_dead_letters_total", "Events set aside because they contradict the ledger.")
SHARD_OPEN = Gauge("redpacket_shard_open", "1 where the shard's owner last saw it open.", ["shard"])
SHARD_NEXT_OFFSET = Gauge("redpacket_shard_next_offset", "The first record not settled yet.", ["shard"])
SHARD_LAG = Gauge("redpacket_shard_lag_records", "Records in the partition that are not settled yet.", ["shard"])
SHARD_HELD = Gauge("redpacket_shard_held", "1 where a record waits for a person to decide about it.", ["shard"])
SHARD_OPENINGS = Counter("redpacket_shard_openings_total", "Openings by their outcome.", ["outcome"])
