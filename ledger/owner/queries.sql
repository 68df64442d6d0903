-- name: take_epoch
-- The next number, above all that were taken here and above what Redis has seen: a restored Postgres must not give out
-- an old one again.
UPDATE shard SET epoch_taken = greatest(epoch_taken, epoch_fenced, $2) + 1 WHERE shard = $1 RETURNING epoch_taken

-- name: fence_settled
-- Whether the Fence at this offset is settled, whether it was the highest then, and the last number taken.
SELECT s.next_offset, s.epoch_taken, r.epoch, r.applied = 1 AS raised
FROM shard s LEFT JOIN record r ON r.shard = s.shard AND r.kafka_offset = $2
WHERE s.shard = $1

-- name: epochs_shut
-- Few shards ever have one.
SELECT shard, epoch_shut FROM shard WHERE epoch_shut > 0

-- name: end_standing_sessions
-- Of our own kind, by its name: active, and for so many seconds waiting for its client.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = current_setting('application_name')
    AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => $1)
