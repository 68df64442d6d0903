-- name: deployment
-- What every process must agree with.
SELECT shards, currency, id_key_fingerprint, split_key_fingerprint, kafka_cluster_id, topic FROM deployment

-- name: newest_migration
-- How far the tables have come.
SELECT max(name) AS name FROM migration

-- name: redis
-- The Redis that is the deployment's.
SELECT generation, name FROM redis ORDER BY generation DESC LIMIT 1

-- name: epochs_fenced
-- The highest epoch of every shard that the ledger has fenced.
SELECT shard, epoch_fenced FROM shard

-- name: known_identities
-- Which of these identities a shard knows, each with its day and terms, and the shard's next_offset: one statement, so
-- one snapshot.
SELECT s.next_offset, k.identities, k.days, k.terms
FROM shard s
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(o.identity), '{}') AS identities, coalesce(array_agg(o.day), '{}') AS days,
        coalesce(array_agg(o.terms), '{}') AS terms
    FROM operation o WHERE o.shard = s.shard AND o.identity = ANY($2)
) k
WHERE s.shard = $1

-- name: operation_snapshots
-- Of these identities, which are of these days, those that are known and, for a packet, all its claims, with the shard's
-- next_offset: one statement, so one snapshot. One row of nulls where none is known.
SELECT s.next_offset, o.identity, o.id, o.at, o.terms, p.state, p.over_at, c.owners, c.shares, c.sequences, c.times,
    EXISTS (SELECT FROM dead_letter d WHERE d.subject = o.id AND d.decision IS NULL) AS frozen
FROM shard s
LEFT JOIN operation o ON o.shard = s.shard AND o.identity = ANY($2)
LEFT JOIN whole_packet p ON p.day = o.day AND p.id = o.id AND p.day = ANY(:days)
LEFT JOIN LATERAL (
    SELECT array_agg(owner) AS owners, array_agg(share) AS shares, array_agg(sequence) AS sequences,
        array_agg(claimed_at) AS times
    FROM whole_claim claim WHERE claim.day = p.day AND claim.packet = p.id AND claim.day = ANY(:days)
) c ON p.id IS NOT NULL
WHERE s.shard = $1

-- name: due_packets
-- Packets of a shard whose time is over and that may be open, behind the last one of the page before, those longest due
-- first; without those that wait for a person.
SELECT expires_at, id, day FROM ending p
WHERE shard = $1 AND expires_at <= $2 AND (expires_at, id) > ($3, $4)
    AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.subject = p.id AND d.decision IS NULL)
ORDER BY expires_at, id LIMIT $5

-- name: open_packets
-- Which of these packets of these days are open.
SELECT id FROM whole_packet WHERE day = ANY(:days) AND id = ANY($1) AND state = 'open'

-- name: wallet_snapshots
-- All that ever came into and went out of these wallets of a shard, with its next_offset: one statement, one snapshot.
SELECT s.next_offset, k.owner, coalesce(a.credits_minor, 0) AS credits_minor, coalesce(a.debits_minor, 0) AS debits_minor,
    EXISTS (SELECT FROM dead_letter d WHERE d.subject = 'wallet:' || k.owner AND d.decision IS NULL) AS frozen
FROM shard s
CROSS JOIN unnest($2::text[]) AS k (owner)
LEFT JOIN account a ON a.owner = k.owner AND a.kind = 'wallet' AND a.shard = s.shard
WHERE s.shard = $1

-- name: settled_up_to
-- next_offset of every shard.
SELECT array_agg(next_offset ORDER BY shard) AS next_offsets FROM shard

-- name: wallet
-- A wallet as its owner sees it: what he can spend, what his packets and payments still hold, and when this was so.
SELECT coalesce(sum(credits_minor - debits_minor) FILTER (WHERE kind = 'wallet'), 0)::bigint AS available_minor,
    coalesce(sum(credits_minor - debits_minor) FILTER (WHERE kind = 'escrow'), 0)::bigint AS held_minor,
    now() AS as_of
FROM account WHERE owner = $2 AND shard = $1 AND kind IN ('wallet', 'escrow')

-- name: wallet_days
-- Where to look for what moved a wallet above version $3, and when this was so: all days that are not sealed, and of the
-- sealed ones those that $4 of its next versions may be in, and below which version they have all there is (none: all).
-- With $5 every day. Of the days that had begun by then those $4 that began last, and those $4 that end first: a packet
-- moves money for some days, and once more where it was ended much later.
WITH wallet AS (SELECT id, version FROM account WHERE owner = $2 AND kind = 'wallet' AND shard = $1),
begun AS (
    SELECT first_version, last_version, day FROM account_day
    WHERE account = (SELECT id FROM wallet) AND first_version <= $3 ORDER BY first_version DESC LIMIT $4
), ending_next AS (
    SELECT day FROM account_day
    WHERE account = (SELECT id FROM wallet) AND last_version > $3 ORDER BY last_version LIMIT $4
), next AS (
    SELECT first_version, day, row_number() OVER (ORDER BY first_version) AS place FROM (
        SELECT first_version, day FROM account_day
        WHERE account = (SELECT id FROM wallet) AND first_version > $3 ORDER BY first_version LIMIT $4 + 1
    ) behind
)
SELECT now() AS as_of, (SELECT id FROM wallet) AS account, (SELECT version FROM wallet) AS version,
    CASE WHEN NOT $5 THEN (SELECT first_version FROM next WHERE place = $4 + 1) END AS below,
    ARRAY(
        -- Only days to come have partitions behind tomorrow's.
        SELECT day FROM ledger_day WHERE sealed_at IS NULL AND day <= (now() AT TIME ZONE 'UTC')::date + 1
        UNION SELECT day FROM begun WHERE last_version > $3
        UNION SELECT day FROM ending_next
        UNION SELECT day FROM next WHERE place <= $4
        UNION SELECT day FROM ledger_day WHERE $5
    ) AS days

-- name: account_entries
-- What moved an account on these days, in the order of its versions: at most $4 postings above version $2 and below $3.
-- Each day's indexes give that order, so no more is read than is given.
SELECT entry.*,
    (SELECT settled_at FROM record WHERE record.shard = entry.shard AND record.kafka_offset = entry.kafka_offset)
FROM (
    (
        SELECT debit_version AS version, debit_balance_minor AS balance_minor, -amount_minor AS amount_minor,
            shard, kafka_offset, item, kind, operation, at
        FROM whole_posting WHERE day = ANY(:days) AND debit_account = $1 AND debit_version > $2 AND debit_version < $3
        ORDER BY debit_version LIMIT $4
    )
    UNION ALL
    (
        SELECT credit_version, credit_balance_minor, amount_minor, shard, kafka_offset, item, kind, operation, at
        FROM whole_posting WHERE day = ANY(:days) AND credit_account = $1 AND credit_version > $2 AND credit_version < $3
        ORDER BY credit_version LIMIT $4
    )
    ORDER BY version LIMIT $4
) entry ORDER BY version

-- name: settled_operations
-- Which of these identities are in the ledger, of any shard.
SELECT identity FROM operation WHERE identity = ANY($1)

-- name: settled_shares
-- Which of these shares of a packet are in the ledger.
SELECT share FROM whole_claim WHERE day = ANY(:days) AND packet = $1 AND share = ANY($2)

-- name: packet_conservation
-- A packet from three sides: its row, its claims, and what the postings have left in escrow for it. Reads the postings
-- of a whole day: for demonstrations and audits.
SELECT p.total_minor, p.claimed_minor, p.refunded_minor, p.claimed_shares, p.state,
    c.claims, c.claims_minor, e.escrow_minor
FROM whole_packet p
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS claims, coalesce(sum(amount_minor), 0)::bigint AS claims_minor
    FROM whole_claim claim WHERE claim.day = ANY(:days) AND claim.packet = p.id
) c
CROSS JOIN LATERAL (
    SELECT coalesce(sum(CASE kind WHEN 'packet' THEN amount_minor ELSE -amount_minor END), 0)::bigint AS escrow_minor
    FROM whole_posting posting WHERE posting.day = ANY(:days) AND posting.operation = p.id
) e
WHERE p.day = ANY(:days) AND p.id = $1

-- name: ending_days
-- The days of which packets of a shard may be open.
SELECT coalesce(array_agg(DISTINCT day), '{}') AS days FROM ending WHERE shard = $1

-- name: conservation
-- What the open packets of a shard have left, by their rows of these days, and what the accounts hold for them: one
-- statement, one snapshot. What is over has nothing left, which a CHECK sees to. With the days again, as they are now.
SELECT
    (SELECT coalesce(sum(total_minor - claimed_minor - refunded_minor), 0)::bigint
        FROM whole_packet WHERE day = ANY(:days) AND shard = $1 AND state = 'open') AS left_minor,
    (SELECT coalesce(sum(credits_minor - debits_minor), 0)::bigint
        FROM account WHERE shard = $1 AND kind = 'escrow') AS escrow_minor,
    (SELECT count(*) FROM dead_letter WHERE shard = $1 AND decision IS NULL) AS letters_waiting,
    (SELECT coalesce(array_agg(DISTINCT day), '{}') FROM ending WHERE shard = $1) AS days

-- name: ledger_totals
SELECT sum(debits_minor)::bigint AS debits_minor, sum(credits_minor)::bigint AS credits_minor FROM account

-- name: locks
-- How many locks Postgres has room for, of all sessions together, and how many tables and indexes the days have: what
-- reads the whole ledger locks each of them.
SELECT current_setting('max_locks_per_transaction')::bigint AS per_transaction,
    current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint AS sessions,
    d.days, d.days * (3 + i.indexes) AS relations
FROM (SELECT count(*) AS days FROM ledger_day) d,
    (SELECT count(*) AS indexes FROM pg_index
        WHERE indrelid IN ('packet'::regclass, 'claim'::regclass, 'posting'::regclass)) i
