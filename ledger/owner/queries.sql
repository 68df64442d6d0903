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
-- Up to which epoch each shard is shut: what a person or a contradiction has ended, and all below the highest Fence,
-- which a Redis may still have open that was left behind.
SELECT shard, greatest(epoch_shut, epoch_fenced - 1) AS epoch_shut FROM shard
