-- What `redpacket audit` reads and keeps.

CREATE VIEW movement AS
SELECT
    p.day, p.shard, p.kafka_offset, p.item, p.kind, p.operation, p.amount_minor, at.posted AS at_ms, p.request,
    p.debit_version, p.debit_balance_minor, d.shard AS debit_shard, d.owner AS debit_owner, d.kind AS debit_kind,
    p.credit_version, p.credit_balance_minor, c.shard AS credit_shard, c.owner AS credit_owner, c.kind AS credit_kind,
    o.shard AS operation_shard, o.identity, o.terms, at.operation AS operation_at_ms,
    k.owner AS packet_owner, k.kind AS split_kind, k.total_minor, k.shares, k.cap_minor, k.min_minor,
    k.currency, k.greeting, k.commitment, at.opened AS opened_at_ms, at.expires AS expires_at_ms,
    l.share, l.owner AS claim_owner, l.sequence, l.amount_minor AS claim_minor, at.claimed AS claimed_at_ms,
    r.state, r.refunded_minor, at.over AS over_at_ms,
    ('x' || left(md5(ROW(
        p.day, p.shard, p.kafka_offset, p.item, p.kind, p.operation, p.amount_minor, at.posted, p.request,
        p.debit_account, p.debit_version, p.debit_balance_minor, d.shard, d.owner, d.kind,
        p.credit_account, p.credit_version, p.credit_balance_minor, c.shard, c.owner, c.kind,
        o.shard, encode(o.identity, 'hex'), encode(o.terms, 'hex'), at.operation,
        k.owner, k.kind, k.total_minor, k.shares, k.cap_minor, k.min_minor,
        k.currency, k.greeting, k.commitment, at.opened, at.expires,
        l.share, l.owner, l.sequence, l.amount_minor, at.claimed, r.state, r.refunded_minor, at.over
    )::text), 16))::bit(64)::bigint AS digest
FROM posting p
LEFT JOIN account d ON d.id = p.debit_account
LEFT JOIN account c ON c.id = p.credit_account
LEFT JOIN operation o ON o.id = p.operation AND p.kind IN ('packet', 'topup')
LEFT JOIN packet k ON k.day = p.day AND k.id = p.operation AND p.kind <> 'topup'
LEFT JOIN packet r ON r.day = p.day AND r.id = p.operation AND p.kind = 'refund'
LEFT JOIN claim l ON l.day = p.day AND l.packet = p.operation AND l.owner = c.owner AND p.kind = 'claim'
CROSS JOIN LATERAL (
    SELECT (extract(epoch FROM p.at) * 1000)::bigint AS posted, (extract(epoch FROM o.at) * 1000)::bigint AS operation,
        (extract(epoch FROM k.opened_at) * 1000)::bigint AS opened,
        (extract(epoch FROM k.expires_at) * 1000)::bigint AS expires,
        (extract(epoch FROM l.claimed_at) * 1000)::bigint AS claimed, (extract(epoch FROM r.over_at) * 1000)::bigint AS over
) at;
COMMENT ON VIEW movement IS 'A posting, with all that it stands for and that never changes: accounts by name, the operation, the packet, the claim, the refund. Times in ms since 1970.';
COMMENT ON COLUMN movement.digest IS '64 bits of the MD5 of all of it. The audit keeps sums of them: whoever changes this view deletes the rows of audit_mark.';

CREATE TABLE audit_mark (
    shard integer PRIMARY KEY REFERENCES shard,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    chain bytea NOT NULL CHECK (length(chain) = 32),
    movements bigint NOT NULL,
    moved_minor numeric NOT NULL,
    digest numeric NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE audit_mark IS 'How far the last audit in which all held has read the log, and what the ledger was below that.';
COMMENT ON COLUMN audit_mark.digest IS 'The sum of the digests of all movements, records and dead letters below next_offset; movements counts the first, moved_minor sums their amounts.';
