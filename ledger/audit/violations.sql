-- Each block finds what is wrong in the whole ledger with one invariant, which its name begins with, as sentences in one
-- column `words`. They are set-based, so that Postgres may read tens of millions of rows in one go; nobody fetches them.

-- name: I1_packets
-- A packet's row, its claims, and what the postings put into escrow for it and took out, say the same.
WITH claimed AS (
    SELECT day, packet, count(*) AS claims, sum(amount_minor) AS minor, max(sequence) AS sequence
    FROM whole_claim GROUP BY day, packet
), posted AS (
    SELECT day, operation,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'packet'), 0) AS sent,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'claim'), 0) AS claimed,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund'), 0) AS refunded
    FROM whole_posting WHERE kind <> 'topup' GROUP BY day, operation
)
SELECT CASE WHEN k.id IS NULL
    THEN format('packet %s is not there: %s claims of it have %s, its postings %s', coalesce(c.packet, p.operation),
        coalesce(c.claims, 0), coalesce(c.minor, 0), coalesce(p.sent, 0))
    ELSE format('packet %s (%s): its row has total %s = claimed %s + refunded %s + remaining %s in %s claims; its %s claims'
        ' have %s; its postings have sent %s = claimed %s + refunded %s + remaining %s',
        k.id, k.state, k.total_minor, k.claimed_minor, k.refunded_minor,
        k.total_minor - k.claimed_minor - k.refunded_minor, k.claimed_shares, coalesce(c.claims, 0), coalesce(c.minor, 0),
        coalesce(p.sent, 0), coalesce(p.claimed, 0), coalesce(p.refunded, 0),
        coalesce(p.sent - p.claimed - p.refunded, 0))
    END AS words
FROM whole_packet k
FULL JOIN claimed c ON c.day = k.day AND c.packet = k.id
FULL JOIN posted p ON p.day = coalesce(k.day, c.day) AND p.operation = coalesce(k.id, c.packet)
WHERE k.id IS NULL
    OR (k.claimed_shares, k.claimed_minor, k.last_sequence)
        IS DISTINCT FROM (coalesce(c.claims, 0), coalesce(c.minor, 0), coalesce(c.sequence, 0))
    OR (k.total_minor, k.claimed_minor, k.refunded_minor) IS DISTINCT FROM (p.sent, p.claimed, p.refunded)
    OR NOT CASE k.state
        WHEN 'open' THEN k.refunded_minor = 0 AND k.claimed_minor < k.total_minor AND k.claimed_shares < k.shares
        WHEN 'sold_out' THEN k.refunded_minor = 0 AND k.claimed_minor = k.total_minor AND k.claimed_shares = k.shares
        ELSE k.refunded_minor > 0 AND k.claimed_minor + k.refunded_minor = k.total_minor AND k.over_at IS NOT NULL
    END

-- name: I1_accounts
-- An account is the sum of its postings.
WITH moved AS (
    SELECT account, sum(debit) AS debits, sum(credit) AS credits, count(*) AS postings
    FROM (
        SELECT debit_account AS account, amount_minor AS debit, 0 AS credit FROM whole_posting
        UNION ALL SELECT credit_account, 0, amount_minor FROM whole_posting
    ) moves GROUP BY account
)
SELECT format('the %s of %s (shard %s) has debits %s, credits %s, balance %s in version %s; its %s postings make debits %s,'
    ' credits %s, balance %s', coalesce(a.kind, 'account'), coalesce(a.owner, m.account::text), a.shard, a.debits_minor,
    a.credits_minor, a.credits_minor - a.debits_minor, a.version, coalesce(m.postings, 0), coalesce(m.debits, 0),
    coalesce(m.credits, 0), coalesce(m.credits - m.debits, 0)) AS words
FROM account a FULL JOIN moved m ON m.account = a.id
WHERE (a.debits_minor, a.credits_minor, a.version)
    IS DISTINCT FROM (coalesce(m.debits, 0), coalesce(m.credits, 0), coalesce(m.postings, 0))

-- name: I1_statements
-- Every posting leaves in its two accounts what was there before it, less or more its amount.
WITH moves AS (
    SELECT debit_account AS account, debit_version AS version, debit_balance_minor AS balance, -amount_minor AS minor
    FROM whole_posting
    UNION ALL SELECT credit_account, credit_version, credit_balance_minor, amount_minor FROM whole_posting
), run AS (
    SELECT *, lag(version, 1, 0::bigint) OVER versions AS version_before,
        lag(balance, 1, 0::bigint) OVER versions AS balance_before
    FROM moves WINDOW versions AS (PARTITION BY account ORDER BY version)
)
SELECT format('the %s of %s: version %s has balance %s, after version %s with %s and a movement of %s', a.kind, a.owner,
    run.version, run.balance, run.version_before, run.balance_before, run.minor) AS words
FROM run LEFT JOIN account a ON a.id = run.account
WHERE run.version <> run.version_before + 1 OR run.balance <> run.balance_before + run.minor

-- name: I1_ways
-- Money goes only the ways that there are, between the accounts of those whom it concerns.
SELECT format('posting %s/%s/%s (%s of %s) moves %s from the %s of %s to the %s of %s', p.shard, p.kafka_offset, p.item,
    p.kind, p.operation, p.amount_minor, d.kind, d.owner, c.kind, c.owner) AS words
FROM whole_posting p
LEFT JOIN account d ON d.id = p.debit_account
LEFT JOIN account c ON c.id = p.credit_account
LEFT JOIN whole_packet k ON k.day = p.day AND k.id = p.operation
WHERE NOT coalesce(CASE p.kind
    WHEN 'topup' THEN d.kind = 'funding' AND d.shard = p.shard AND c.kind = 'wallet'
    WHEN 'packet' THEN d.kind = 'wallet' AND d.owner = k.owner AND c.kind = 'escrow' AND c.owner = k.owner AND c.shard = p.shard
    WHEN 'claim' THEN d.kind = 'escrow' AND d.owner = k.owner AND d.shard = p.shard AND c.kind = 'wallet'
    WHEN 'refund' THEN d.kind = 'escrow' AND d.owner = k.owner AND d.shard = p.shard AND c.kind = 'wallet' AND c.owner = k.owner
END, false)

-- name: I1_escrows
-- An owner's escrow holds what his packets have not given out.
WITH held AS (
    SELECT shard, owner, sum(total_minor - claimed_minor - refunded_minor) AS minor FROM whole_packet GROUP BY shard, owner
)
SELECT format('the escrow of %s (shard %s) has %s, %s is left of its packets', coalesce(a.owner, h.owner),
    coalesce(a.shard, h.shard), a.credits_minor - a.debits_minor, coalesce(h.minor, 0)) AS words
FROM (SELECT * FROM account WHERE kind = 'escrow') a FULL JOIN held h ON h.owner = a.owner AND h.shard = a.shard
WHERE a.credits_minor - a.debits_minor IS DISTINCT FROM coalesce(h.minor, 0)

-- name: I1_endings
-- The owner of the shard ends what is in `ending`: what is open and not there would keep its money for ever.
SELECT format('packet %s is open, and nobody would ever end it: it is not in `ending`, with %s left', k.id,
    k.total_minor - k.claimed_minor - k.refunded_minor) AS words
FROM whole_packet k LEFT JOIN ending e ON e.shard = k.shard AND e.expires_at = k.expires_at AND e.id = k.id AND e.day = k.day
WHERE k.state = 'open' AND e.id IS NULL

-- name: I1_ledger
-- Over the whole ledger debits = credits, and both are what was posted.
SELECT format('the accounts have debits %s and credits %s, the postings moved %s', a.debits, a.credits, p.moved) AS words
FROM (SELECT coalesce(sum(debits_minor), 0) AS debits, coalesce(sum(credits_minor), 0) AS credits FROM account) a,
    (SELECT coalesce(sum(amount_minor), 0) AS moved FROM whole_posting) p
WHERE a.debits <> a.credits OR a.debits <> p.moved

-- name: I2_shares
-- A share of a packet is there once. The database has a key for it; the audit counts.
WITH twice AS (SELECT day, packet, share FROM whole_claim GROUP BY day, packet, share HAVING count(*) > 1)
SELECT format('share %s of packet %s has %s claims: %s', share, packet, count(*),
    string_agg(format('%s with %s', owner, amount_minor), ', ')) AS words
FROM whole_claim JOIN twice USING (day, packet, share) GROUP BY day, packet, share

-- name: I2_numbers
-- A share's number is one that the packet has.
SELECT format('packet %s has %s shares, and a claim of share %s by %s', k.id, k.shares, c.share, c.owner) AS words
FROM whole_claim c JOIN whole_packet k ON k.day = c.day AND k.id = c.packet WHERE c.share NOT BETWEEN 1 AND k.shares

-- name: I3_owners
-- A person has one share of a packet.
WITH twice AS (SELECT day, packet, owner FROM whole_claim GROUP BY day, packet, owner HAVING count(*) > 1)
SELECT format('%s has %s claims of packet %s: shares %s', owner, count(*), packet,
    string_agg(format('%s with %s', share, amount_minor), ', ')) AS words
FROM whole_claim JOIN twice USING (day, packet, owner) GROUP BY day, packet, owner

-- name: I5_operations
-- An operation has one posting that made it, a packet one refund at most, and neither is there without the other.
WITH posted AS (
    SELECT operation, count(*) FILTER (WHERE kind IN ('packet', 'topup')) AS made,
        count(*) FILTER (WHERE kind = 'refund') AS refunds, count(DISTINCT day) AS days, min(day) AS day
    FROM whole_posting GROUP BY operation
)
SELECT format('%s %s: it is %s as an operation%s, %s postings made it, %s refunded it', coalesce(o.kind, 'operation'),
    coalesce(o.id, p.operation), CASE WHEN o.id IS NULL THEN 'not there' ELSE 'there' END,
    CASE WHEN k.id IS NULL AND o.kind = 'packet' THEN ', not there as a packet' ELSE '' END,
    coalesce(p.made, 0), coalesce(p.refunds, 0)) AS words
FROM operation o
FULL JOIN posted p ON p.operation = o.id
LEFT JOIN whole_packet k ON k.day = o.day AND k.id = o.id
WHERE o.id IS NULL OR p.made IS DISTINCT FROM 1 OR p.refunds > 1 OR p.days <> 1 OR p.day <> o.day
    OR (o.kind = 'packet') <> (k.id IS NOT NULL)

-- name: I5_packets
SELECT format('packet %s of %s has no operation that opened it', k.id, k.owner) AS words
FROM whole_packet k LEFT JOIN operation o ON o.id = k.id WHERE o.id IS NULL

-- name: I5_claims
-- A claim has one posting of its amount to its owner's wallet, and no such posting is there without its claim.
WITH posted AS (
    SELECT p.day, p.operation, c.owner, count(*) AS postings, sum(p.amount_minor) AS minor
    FROM whole_posting p LEFT JOIN account c ON c.id = p.credit_account WHERE p.kind = 'claim'
    GROUP BY p.day, p.operation, c.owner
)
SELECT CASE WHEN c.packet IS NULL
    THEN format('%s was posted %s of packet %s and has no claim', p.owner, p.minor, p.operation)
    ELSE format('the claim of %s by %s (share %s of packet %s) has %s postings of %s in all', c.amount_minor, c.owner, c.share,
        c.packet, coalesce(p.postings, 0), coalesce(p.minor, 0))
    END AS words
FROM whole_claim c FULL JOIN posted p ON p.day = c.day AND p.operation = c.packet AND p.owner = c.owner
WHERE c.packet IS NULL OR (p.postings, p.minor) IS DISTINCT FROM (1::bigint, c.amount_minor::numeric)

-- name: I5_places
-- A posting names an item of a settled record, and nothing else names it.
SELECT format('posting %s/%s/%s (%s of %s, %s) names a record that is not settled', p.shard, p.kafka_offset, p.item, p.kind,
    p.operation, p.amount_minor) AS words
FROM whole_posting p LEFT JOIN shard s ON s.shard = p.shard
WHERE NOT coalesce(p.kafka_offset BETWEEN 0 AND s.next_offset - 1, false)
UNION ALL
SELECT format('%s postings name item %s of record %s/%s', count(*), item, shard, kafka_offset)
FROM whole_posting GROUP BY shard, kafka_offset, item HAVING count(*) > 1

-- name: I8_records
-- Every record below the shard's offset is there, and none above; the last one's link is the shard's.
SELECT format('shard %s is settled up to %s, and has %s records from %s to %s; its chain ends in %s, its last record in %s',
    s.shard, s.next_offset, r.records, r.lowest, r.highest, encode(s.chain, 'hex'),
    coalesce(encode(l.chain, 'hex'), 'nothing')) AS words
FROM shard s
LEFT JOIN (
    SELECT shard, count(*) AS records, min(kafka_offset) AS lowest, max(kafka_offset) AS highest FROM record GROUP BY shard
) r ON r.shard = s.shard
LEFT JOIN LATERAL (
    SELECT chain FROM record WHERE record.shard = s.shard AND record.kafka_offset = s.next_offset - 1 OFFSET 0
) l ON true
WHERE coalesce(r.records, 0) <> s.next_offset OR coalesce(r.highest + 1, 0) <> s.next_offset
    OR s.chain <> coalesce(l.chain, decode(repeat('00', 32), 'hex'))
