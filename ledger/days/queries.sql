-- name: days
-- Every day before $1 that has partitions, the oldest first.
SELECT day, sealed_at, detached_at, day < detachable_before() AS old FROM ledger_day WHERE day < $1 ORDER BY day

-- name: sizes
-- In bytes, with the indexes, by day.
SELECT d.day, (
    SELECT coalesce(sum(pg_total_relation_size(to_regclass(t || to_char(d.day, '_YYYY_MM_DD')))), 0)::bigint
    FROM unnest('{packet, claim, posting}'::text[]) t
) AS bytes
FROM ledger_day d

-- name: is_bounded
-- Whether a partition has the CHECK by which it is attached without being looked through; null where it has none.
SELECT convalidated FROM pg_constraint WHERE conrelid = $1::regclass AND conname = 'of_day'

-- name: detach_day
SELECT detach_day($1)
