-- name: letters
-- Those that nobody has decided about yet, or all.
SELECT * FROM dead_letter WHERE decision IS NULL OR $1 ORDER BY at, shard, kafka_offset, item

-- name: letter
SELECT * FROM dead_letter WHERE shard = $1 AND kafka_offset = $2 AND item = $3

-- name: lock_letter
-- Until the decision is committed nobody else decides about it.
SELECT * FROM dead_letter WHERE shard = $1 AND kafka_offset = $2 AND item = $3 FOR UPDATE NOWAIT

-- name: decide
UPDATE dead_letter SET decision = $4, decided_at = clock_timestamp()
WHERE shard = $1 AND kafka_offset = $2 AND item = $3

-- name: shut
-- What Redis holds was loaded before the decision. An opening under way has its Fence settled after this, and with it
-- comes a load that knows the decision: both lock this row.
UPDATE shard SET epoch_shut = greatest(epoch_shut, epoch_fenced) WHERE shard = $1

-- name: epochs
SELECT epoch_fenced, epoch_shut FROM shard WHERE shard = $1

-- name: outcome
-- Of the record at this offset, once it is settled.
SELECT applied, repeated, ignored FROM record WHERE shard = $1 AND kafka_offset = $2
