-- name: read_for_long
-- The audit reads whole tables. A planner that knows nothing of a new day yet would look up each posting's claim by its
-- packet alone, ten thousand times ten thousand; what is to be looked up by key says so (LATERAL ... OFFSET 0).
SELECT set_config('work_mem', '64MB', false), set_config('statement_timeout', $1, false),
    set_config('enable_nestloop', 'off', false)

-- name: make_confirmed
-- What Redis holds as confirmed, for this session only: a table so that Postgres compares it, and nobody's memory is filled.
CREATE TEMPORARY TABLE confirmed_operation (
    shard integer NOT NULL, identity bytea NOT NULL, id text NOT NULL, at_ms bigint NOT NULL, terms bytea NOT NULL,
    state text NOT NULL, over_at_ms bigint NOT NULL
);
CREATE TEMPORARY TABLE confirmed_claim (
    shard integer NOT NULL, day date NOT NULL, packet text NOT NULL, share integer NOT NULL, owner text NOT NULL,
    sequence integer NOT NULL, amount_minor bigint NOT NULL, at_ms bigint NOT NULL
);
CREATE TEMPORARY TABLE held_wallet (shard integer NOT NULL, owner text NOT NULL, credited_minor bigint NOT NULL)

-- name: positions
-- How far each shard is settled, and whether the record there waits for a person.
SELECT s.shard, s.next_offset, EXISTS (
    SELECT FROM dead_letter d
    WHERE d.shard = s.shard AND d.kafka_offset = s.next_offset AND d.item = -1 AND d.decision IS NULL
) AS held
FROM shard s ORDER BY s.shard

-- name: shards
-- Each shard, with the mark of the last audit and with what the chain was there, by the ledger's records.
SELECT s.shard, s.next_offset, s.epoch_fenced, s.chain, m.next_offset AS mark_offset, m.chain AS mark_chain,
    m.movements, m.moved_minor, m.digest, m.at,
    (SELECT chain FROM record r WHERE r.shard = s.shard AND r.kafka_offset = m.next_offset - 1) AS chain_there
FROM shard s LEFT JOIN audit_mark m ON m.shard = s.shard
ORDER BY s.shard

-- name: state_at
-- The chain before an offset, and the highest epoch that was fenced by then: a record above it was never settled, and
-- those below it do not raise it.
SELECT coalesce(max(epoch), 0) AS epoch_fenced,
    (SELECT chain FROM record WHERE shard = $1 AND kafka_offset = $2 - 1) AS chain
FROM record WHERE shard = $1 AND kafka_offset < $2

-- name: fenced_at
-- Where the first Fence above an epoch is: nothing of a higher epoch comes before it.
SELECT min(kafka_offset) AS kafka_offset FROM record WHERE shard = $1 AND epoch > $2

-- name: figures
-- The whole ledger in sums.
SELECT packets.*, claims.*, operations.*, postings.*, accounts.*, letters.*
FROM
    (SELECT count(*) AS packets, coalesce(sum(total_minor), 0)::bigint AS total_minor,
        coalesce(sum(claimed_minor), 0)::bigint AS claimed_minor, coalesce(sum(refunded_minor), 0)::bigint AS refunded_minor,
        coalesce(sum(claimed_shares), 0)::bigint AS claimed_shares FROM whole_packet) packets,
    (SELECT count(*) AS claims, coalesce(sum(amount_minor), 0)::bigint AS claims_minor FROM whole_claim) claims,
    (SELECT count(*) AS operations FROM operation) operations,
    (SELECT count(*) AS postings, coalesce(sum(amount_minor), 0)::bigint AS posted_minor FROM whole_posting) postings,
    (SELECT count(*) AS accounts, coalesce(sum(debits_minor), 0)::bigint AS debits_minor,
        coalesce(sum(credits_minor), 0)::bigint AS credits_minor,
        coalesce(sum(credits_minor - debits_minor) FILTER (WHERE kind = 'escrow'), 0)::bigint AS escrow_minor
        FROM account) accounts,
    (SELECT count(*) FILTER (WHERE decision IS NULL AND item >= 0) AS letters_waiting,
        count(*) FILTER (WHERE decision = 'rejected') AS letters_rejected FROM dead_letter) letters

-- name: counts_of_packets
-- How many different shares and owners the claims have, packet by packet.
SELECT coalesce(sum(shares), 0)::bigint AS shares, coalesce(sum(owners), 0)::bigint AS owners
FROM (SELECT count(DISTINCT share) AS shares, count(DISTINCT owner) AS owners FROM whole_claim GROUP BY day, packet) packets

-- name: below_zero
-- Wallets below zero: this may be so for a moment, since shards are settled at different paces.
SELECT id, owner, shard, debits_minor, credits_minor FROM account WHERE kind = 'wallet' AND credits_minor < debits_minor

-- name: credits_of
SELECT id, credits_minor FROM account WHERE id = ANY($1)

-- name: below
-- The ledger below an offset of each shard, in sums, for a mark: at the last one, and at the next. Its digest is of the
-- records, too, and of what was set aside: what a person decides later is not in it.
SELECT m.shard,
    coalesce(sum(m.moved) FILTER (WHERE m.kafka_offset < k.mark), 0) AS marked_movements,
    coalesce(sum(m.amount_minor) FILTER (WHERE m.kafka_offset < k.mark), 0) AS marked_minor,
    coalesce(sum(m.digest) FILTER (WHERE m.kafka_offset < k.mark), 0) AS marked_digest,
    coalesce(sum(m.moved), 0) AS movements, coalesce(sum(m.amount_minor), 0) AS moved_minor,
    coalesce(sum(m.digest), 0) AS digest
FROM (
    SELECT shard, kafka_offset, 1 AS moved, amount_minor, digest FROM movement
    UNION ALL SELECT shard, kafka_offset, 0, 0, ('x' || left(md5(ROW(
        'record', shard, kafka_offset, epoch, applied, repeated, ignored, encode(chain, 'hex')
    )::text), 16))::bit(64)::bigint FROM record
    UNION ALL SELECT shard, kafka_offset, 0, 0, ('x' || left(md5(ROW(
        'letter', shard, kafka_offset, item, subject, at_ms, event, encode(packed, 'hex')
    )::text), 16))::bit(64)::bigint FROM dead_letter
) m
JOIN unnest($1::integer[], $2::bigint[], $3::bigint[]) AS k (shard, mark, next_offset)
    ON k.shard = m.shard AND m.kafka_offset < k.next_offset
GROUP BY m.shard

-- name: movements
-- What the ledger says that the records between two offsets of each shard moved, in their order.
SELECT m.* FROM movement m
JOIN unnest($1::integer[], $2::bigint[], $3::bigint[]) AS k (shard, from_offset, to_offset)
    ON k.shard = m.shard AND m.kafka_offset >= k.from_offset AND m.kafka_offset < k.to_offset
ORDER BY m.shard, m.kafka_offset, m.item

-- name: records
SELECT kafka_offset, epoch, applied, repeated, ignored, chain FROM record
WHERE shard = $1 AND kafka_offset BETWEEN $2 AND $3

-- name: letters
SELECT kafka_offset, item, packed, decision FROM dead_letter WHERE shard = $1 AND kafka_offset BETWEEN $2 AND $3

-- name: claims_known
-- For events that moved nothing: what stands where they would have gone.
SELECT c.packet, c.share, c.owner, c.sequence, c.amount_minor, (extract(epoch FROM c.claimed_at) * 1000)::bigint AS at_ms
FROM unnest($1::date[], $2::text[], $3::integer[]) AS k (day, packet, share)
JOIN LATERAL (
    SELECT * FROM whole_claim claim WHERE claim.day = k.day AND claim.packet = k.packet AND claim.share = k.share OFFSET 0
) c ON true

-- name: operations_known
SELECT o.id, (extract(epoch FROM o.at) * 1000)::bigint AS at_ms, o.terms, k.commitment, k.state, k.refunded_minor,
    (extract(epoch FROM k.over_at) * 1000)::bigint AS over_at_ms
FROM operation o
LEFT JOIN LATERAL (SELECT * FROM whole_packet packet WHERE packet.day = o.day AND packet.id = o.id OFFSET 0) k ON true
WHERE o.id = ANY($1)

-- name: confirmed_figures
-- What was read from Redis, and what the ledger has of the same names.
SELECT
    (SELECT count(DISTINCT identity) FROM confirmed_operation) AS operations,
    (SELECT count(*) FROM (SELECT DISTINCT packet, owner FROM confirmed_claim) claims) AS claims,
    (SELECT coalesce(sum(amount_minor), 0)::bigint FROM (SELECT DISTINCT packet, owner, amount_minor FROM confirmed_claim) c)
        AS claims_minor,
    there.claims_there, there.claims_there_minor,
    (SELECT count(DISTINCT o.identity) FROM operation o JOIN confirmed_operation h ON h.identity = o.identity)
        AS operations_there
FROM (
    SELECT count(*) AS claims_there, coalesce(sum(c.amount_minor), 0)::bigint AS claims_there_minor
    FROM whole_claim c JOIN (SELECT DISTINCT day, packet, owner FROM confirmed_claim) h
        ON h.day = c.day AND h.packet = c.packet AND h.owner = c.owner
) there

-- name: claims_unlike_the_ledger
-- Claims confirmed in Redis that the ledger does not have just so; with what it has for this share.
SELECT h.*, c.owner AS there_owner, c.sequence AS there_sequence, c.amount_minor AS there_minor,
    (extract(epoch FROM c.claimed_at) * 1000)::bigint AS there_at_ms
FROM (SELECT DISTINCT * FROM confirmed_claim) h
LEFT JOIN whole_claim c ON c.day = h.day AND c.packet = h.packet AND c.share = h.share
WHERE (c.owner, c.sequence, c.amount_minor, (extract(epoch FROM c.claimed_at) * 1000)::bigint)
    IS DISTINCT FROM (h.owner, h.sequence, h.amount_minor, h.at_ms)
ORDER BY h.packet, h.share LIMIT $1

-- name: operations_unlike_the_ledger
-- Operations confirmed in Redis that the ledger does not have just so. Terms may be equal though their bytes are not.
SELECT h.*, o.id AS there_id, (extract(epoch FROM o.at) * 1000)::bigint AS there_at_ms, o.terms AS there_terms,
    coalesce(k.state, '') AS there_state, coalesce((extract(epoch FROM k.over_at) * 1000)::bigint, 0) AS there_over_at_ms
FROM (SELECT DISTINCT * FROM confirmed_operation) h
LEFT JOIN operation o ON o.identity = h.identity
LEFT JOIN whole_packet k ON k.day = o.day AND k.id = o.id
WHERE (o.id, (extract(epoch FROM o.at) * 1000)::bigint, o.terms) IS DISTINCT FROM (h.id, h.at_ms, h.terms)
    OR (h.state <> '' AND (k.state, (extract(epoch FROM k.over_at) * 1000)::bigint) IS DISTINCT FROM (h.state, h.over_at_ms))
ORDER BY h.id LIMIT $1

-- name: wallets_beyond_the_ledger
-- Wallets to which Redis has credited more than the ledger: what it has was read from there before, and credits never go
-- down.
SELECT h.shard, h.owner, h.credited_minor, coalesce(a.credits_minor, 0) AS there_minor
FROM (SELECT shard, owner, max(credited_minor) AS credited_minor FROM held_wallet GROUP BY shard, owner) h
LEFT JOIN account a ON a.owner = h.owner AND a.kind = 'wallet' AND a.shard = h.shard
WHERE h.credited_minor > coalesce(a.credits_minor, 0)
ORDER BY h.owner LIMIT $1

-- name: letters_of
-- What is set aside of these subjects and not in the ledger: it waits, or was rejected. What was replayed is there, or
-- has another letter.
SELECT packed, decision FROM dead_letter
WHERE subject = ANY($1) AND item >= 0 AND decision IS DISTINCT FROM 'replayed'

-- name: letters_again
-- Events that were set aside once more when they were replayed.
SELECT DISTINCT packed FROM dead_letter
WHERE packed = ANY($1) AND item >= 0 AND decision IS DISTINCT FROM 'replayed'

-- name: keep_mark
-- Only ever forwards: of two audits at once the one that has read further.
INSERT INTO audit_mark (shard, next_offset, chain, movements, moved_minor, digest)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bytea[], $4::bigint[], $5::numeric[], $6::numeric[])
ON CONFLICT (shard) DO UPDATE SET next_offset = excluded.next_offset, chain = excluded.chain,
    movements = excluded.movements, moved_minor = excluded.moved_minor, digest = excluded.digest, at = excluded.at
WHERE audit_mark.next_offset <= excluded.next_offset
