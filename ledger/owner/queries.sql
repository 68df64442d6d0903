-- name: take_epoch
-- The next number, above all that were taken here and above what Redis has seen: a restored Postgres must not give out
-- an old one again. None for an owner whose Redis is not the shard's: asked of the shard's own row, which is locked by
-- then, so that a replacement made meanwhile is seen.
UPDATE shard SET epoch_taken = greatest(epoch_taken, epoch_fenced, $2) + 1
WHERE shard = $1 AND redis_generation = $3 RETURNING epoch_taken

-- name: generation
SELECT redis_generation FROM shard WHERE shard = $1

-- name: take_epochs
-- A number for every shard at once, each above what Redis has seen of it; in the order of the shards.
WITH taken AS (
    UPDATE shard s SET epoch_taken = greatest(s.epoch_taken, s.epoch_fenced, seen.epoch) + 1
    FROM unnest($1::integer[], $2::bigint[]) AS seen (shard, epoch)
    WHERE s.shard = seen.shard RETURNING s.shard, s.epoch_taken
)
SELECT shard, epoch_taken FROM taken ORDER BY shard

-- name: lock_shards
-- Nobody takes a number until this transaction is over.
SELECT shard, epoch_taken FROM shard ORDER BY shard FOR UPDATE

-- name: redis_generation
SELECT max(generation) FROM redis

-- name: add_redis
INSERT INTO redis (generation, name) VALUES ($1, $2)

-- name: place_shards
UPDATE shard SET redis_generation = $1

-- name: fence_settled
-- Whether the Fence at this offset is settled, whether it was the highest then, and the last number taken.
SELECT s.next_offset, s.epoch_taken, r.epoch, r.applied = 1 AS raised
FROM shard s LEFT JOIN record r ON r.shard = s.shard AND r.kafka_offset = $2
WHERE s.shard = $1

-- name: epochs_shut
-- Up to which epoch each shard is shut: what a person or a contradiction has ended, and all below the highest Fence,
-- which a Redis may still have open that was left behind.
SELECT shard, greatest(epoch_shut, epoch_fenced - 1) AS epoch_shut FROM shard

-- name: end_standing_sessions
-- Of our own kind, by its name: active, and for so many seconds waiting for its client.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = current_setting('application_name')
    AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => $1)

-- name: forget_ending
-- Packets that are over.
DELETE FROM ending e USING unnest($2::timestamptz[], $3::text[]) AS k (expires_at, id)
WHERE e.shard = $1 AND e.expires_at = k.expires_at AND e.id = k.id

-- name: next_to_seal
-- The oldest day before yesterday that is not sealed and lies behind $1; null where there is none. Whoever writes into a
-- day has asked for it a minute ago at most (Settler): what is under way is settled.
SELECT min(day) AS day FROM ledger_day
WHERE sealed_at IS NULL AND day < (now() AT TIME ZONE 'UTC')::date - 1 AND day > $1
    AND asked_at < now() - interval '5 minutes'

-- name: has_open_packets
SELECT EXISTS (SELECT FROM whole_packet WHERE day = ANY(:days) AND state = 'open')

-- name: highest_account
SELECT coalesce(max(id), 0) FROM account

-- name: keep_account_day
-- The lowest and the highest version of each of some wallets on a day, by four looks into its indexes: that a day or a
-- wallet has many postings costs nothing. Again so where something was settled late: only the end has moved.
INSERT INTO account_day (account, first_version, last_version, day)
WITH chunk AS MATERIALIZED (SELECT id, kind FROM account WHERE id BETWEEN $1 AND $2) -- by its key, and not by its kind
SELECT chunk.id, moved.lowest, moved.highest, (:days)[1]
FROM chunk CROSS JOIN LATERAL (
    SELECT
        least(
            (SELECT debit_version FROM whole_posting WHERE day = ANY(:days) AND debit_account = chunk.id
                ORDER BY debit_version LIMIT 1),
            (SELECT credit_version FROM whole_posting WHERE day = ANY(:days) AND credit_account = chunk.id
                ORDER BY credit_version LIMIT 1)
        ) AS lowest,
        greatest(
            (SELECT debit_version FROM whole_posting WHERE day = ANY(:days) AND debit_account = chunk.id
                ORDER BY debit_version DESC LIMIT 1),
            (SELECT credit_version FROM whole_posting WHERE day = ANY(:days) AND credit_account = chunk.id
                ORDER BY credit_version DESC LIMIT 1)
        ) AS highest
    OFFSET 0
) moved
WHERE chunk.kind = 'wallet' AND moved.lowest IS NOT NULL
ORDER BY chunk.id
ON CONFLICT (account, first_version) DO UPDATE SET last_version = excluded.last_version
WHERE account_day.last_version < excluded.last_version

-- name: seal_day
-- Not where somebody has asked for the day meanwhile: what they write is not in account_day.
UPDATE ledger_day SET sealed_at = now()
WHERE day = $1 AND sealed_at IS NULL AND asked_at < now() - interval '5 minutes'
