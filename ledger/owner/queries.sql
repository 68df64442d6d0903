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
SELECT EXISTS (SELECT FROM packet WHERE day = ANY(:days) AND state = 'open')

-- name: highest_account
SELECT coalesce(max(id), 0) FROM account

-- name: keep_account_day
-- Where the wallets of some accounts moved on a day. Again so where something was settled late: only the end has moved.
INSERT INTO account_day (account, first_version, last_version, day)
SELECT moved.account, min(moved.version), max(moved.version), moved.day FROM (
    SELECT debit_account AS account, debit_version AS version, day
    FROM posting WHERE day = ANY(:days) AND debit_account BETWEEN $1 AND $2
    UNION ALL
    SELECT credit_account, credit_version, day FROM posting WHERE day = ANY(:days) AND credit_account BETWEEN $1 AND $2
) moved JOIN account ON account.id = moved.account AND account.kind = 'wallet'
GROUP BY moved.account, moved.day
ORDER BY moved.account
ON CONFLICT (account, first_version) DO UPDATE SET last_version = excluded.last_version
WHERE account_day.last_version < excluded.last_version

-- name: seal_day
UPDATE ledger_day SET sealed_at = now() WHERE day = $1 AND sealed_at IS NULL
