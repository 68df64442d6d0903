-- name: ensure_day
-- Before the transaction that needs it, in one of its own. Takes a day back that is detached, too.
SELECT ensure_day($1)

-- name: position
-- Where the shard is settled, and whether the record there is held, or was rejected by a person.
SELECT s.next_offset, s.epoch_fenced, d.item IS NOT NULL AND d.decision IS NULL AS held, d.decision = 'rejected' AS rejected
FROM shard s LEFT JOIN dead_letter d ON d.shard = s.shard AND d.kafka_offset = s.next_offset AND d.item = -1
WHERE s.shard = $1

-- name: advance
-- The offset moves in the transaction that settles, and only from where this worker believes it to be: of two who both
-- believe they own the shard, one gets 0 rows. It also locks the shard, so that what is read below stands still.
UPDATE shard SET next_offset = $3 WHERE shard = $1 AND next_offset = $2 RETURNING epoch_fenced, chain

-- name: finish
UPDATE shard SET epoch_fenced = $2, chain = $3, epoch_shut = greatest(epoch_shut, $4) WHERE shard = $1

-- name: held_operations
SELECT identity, id, at, terms FROM operation WHERE identity = ANY($1)

-- name: held_packets
SELECT k.id, o.terms, p.commitment, p.opened_at, p.claimed_shares, p.claimed_minor, p.last_sequence,
    p.state, p.refunded_minor, p.over_at
FROM unnest($1::date[], $2::text[], $3::bytea[]) AS k (day, id, identity)
JOIN LATERAL (
    SELECT * FROM whole_packet packet WHERE packet.day = k.day AND packet.id = k.id AND packet.day = ANY(:days) OFFSET 0
) p ON true
JOIN LATERAL (SELECT terms FROM operation WHERE operation.identity = k.identity OFFSET 0) o ON true

-- name: held_claims
-- Claims that stand where these want to go, by share or by owner.
SELECT c.packet, c.share, c.owner, c.sequence, c.amount_minor, c.claimed_at
FROM unnest($1::date[], $2::text[], $3::integer[], $4::text[]) AS k (day, packet, share, owner)
JOIN LATERAL (
    (
        SELECT * FROM whole_claim claim
        WHERE claim.day = k.day AND claim.packet = k.packet AND claim.share = k.share AND claim.day = ANY(:days) OFFSET 0
    )
    UNION
    (
        SELECT * FROM whole_claim claim
        WHERE claim.day = k.day AND claim.packet = k.packet AND claim.owner = k.owner AND claim.day = ANY(:days) OFFSET 0
    )
) c ON true

-- name: open_accounts
-- A CHECK looks at the row that an upsert proposes, not at the one that it would become; so accounts are made empty first.
INSERT INTO account (shard, owner, kind)
SELECT * FROM unnest($1::integer[], $2::text[], $3::text[]) AS moved (shard, owner, kind)
ORDER BY shard, owner, kind
ON CONFLICT (owner, kind, shard) DO NOTHING

-- name: move_accounts
-- Locked in one order for all shards, so that of two settlements that credit the same wallets one waits for the other.
WITH locked AS (
    SELECT a.id, moved.debits_minor, moved.credits_minor, moved.postings
    FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS moved (shard, owner, kind, debits_minor, credits_minor, postings)
    JOIN account a ON a.owner = moved.owner AND a.kind = moved.kind AND a.shard = moved.shard
    ORDER BY a.shard, a.owner, a.kind
    FOR UPDATE OF a
)
UPDATE account a SET
    debits_minor = a.debits_minor + locked.debits_minor,
    credits_minor = a.credits_minor + locked.credits_minor,
    version = a.version + locked.postings
FROM locked WHERE a.id = locked.id
RETURNING a.id, a.shard, a.owner, a.kind, a.debits_minor, a.credits_minor, a.version

-- name: move_packets
UPDATE packet SET state = moved.state, claimed_shares = moved.claimed_shares, claimed_minor = moved.claimed_minor,
    last_sequence = moved.last_sequence, refunded_minor = moved.refunded_minor, over_at = moved.over_at
FROM unnest($1::date[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::integer[], $7::bigint[],
    $8::timestamptz[])
    AS moved (day, id, state, claimed_shares, claimed_minor, last_sequence, refunded_minor, over_at)
WHERE packet.day = moved.day AND packet.id = moved.id AND packet.day = ANY(:days)

-- name: hold
-- The record that is to be settled next, and no other, waits for a person; again so where its replay has failed.
INSERT INTO dead_letter (shard, kafka_offset, item, reason, event, packed)
SELECT shard, next_offset, -1, $3, $4, $5 FROM shard WHERE shard = $1 AND next_offset = $2 FOR NO KEY UPDATE
ON CONFLICT (shard, kafka_offset, item) DO UPDATE
SET reason = excluded.reason, at = excluded.at, decision = NULL, decided_at = NULL
WHERE dead_letter.decision = 'replayed'
