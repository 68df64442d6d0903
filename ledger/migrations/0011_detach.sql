-- Old days are detached: their partitions move to parents of their own, which what is asked of recent days never sees.
-- Nothing is gone: what is asked of an old day, and the audit, read whole_packet, whole_claim and whole_posting. A later
-- migration that adds a column to packet, claim or posting adds it to the detached parent and to the view, too.

ALTER TABLE ledger_day ADD COLUMN detached_at timestamptz;
COMMENT ON COLUMN ledger_day.detached_at IS 'Since when its partitions are those of detached_packet, detached_claim and detached_posting. Null again when something of the day is settled late: ensure_day takes them back.';

CREATE TABLE detached_packet (LIKE packet INCLUDING ALL) PARTITION BY RANGE (day);
CREATE TABLE detached_claim (LIKE claim INCLUDING ALL) PARTITION BY RANGE (day);
CREATE TABLE detached_posting (LIKE posting INCLUDING ALL) PARTITION BY RANGE (day);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON detached_claim FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON detached_posting FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON detached_claim EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON detached_posting EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE detached_packet IS 'The packets of the days that are detached; so detached_claim and detached_posting.';

-- Column by column: what was made by an early version has them in another order.
CREATE VIEW whole_packet AS
SELECT day, id, shard, owner, kind, total_minor, shares, cap_minor, min_minor, currency, greeting, commitment, opened_at,
    expires_at, state, claimed_shares, claimed_minor, last_sequence, refunded_minor, over_at
FROM packet
UNION ALL
SELECT day, id, shard, owner, kind, total_minor, shares, cap_minor, min_minor, currency, greeting, commitment, opened_at,
    expires_at, state, claimed_shares, claimed_minor, last_sequence, refunded_minor, over_at
FROM detached_packet;
CREATE VIEW whole_claim AS
SELECT day, packet, share, owner, sequence, amount_minor, claimed_at FROM claim
UNION ALL
SELECT day, packet, share, owner, sequence, amount_minor, claimed_at FROM detached_claim;
CREATE VIEW whole_posting AS
SELECT day, shard, kafka_offset, item, kind, operation, debit_account, debit_version, debit_balance_minor, credit_account,
    credit_version, credit_balance_minor, amount_minor, at, request
FROM posting
UNION ALL
SELECT day, shard, kafka_offset, item, kind, operation, debit_account, debit_version, debit_balance_minor, credit_account,
    credit_version, credit_balance_minor, amount_minor, at, request
FROM detached_posting;
COMMENT ON VIEW whole_packet IS 'The packets of all days, wherever they are; so whole_claim and whole_posting.';

CREATE FUNCTION detachable_before() RETURNS date STABLE LANGUAGE sql
    AS $$ SELECT (now() AT TIME ZONE 'UTC')::date - 32 $$;
COMMENT ON FUNCTION detachable_before IS 'Only days before it are detached. The service looks for days of the last 30 in packet, claim and posting alone (redpacket/sql.py), by clocks that may differ.';

CREATE FUNCTION move_day(wanted date, source text, target text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    part text;
BEGIN
    -- Both parents at once, for a moment: who reads the whole has the locks of both before it looks which partitions
    -- they have, so it finds the day in one of them, always.
    LOCK TABLE ONLY packet, ONLY detached_packet, ONLY claim, ONLY detached_claim, ONLY posting, ONLY detached_posting
        IN ACCESS EXCLUSIVE MODE;
    FOREACH parent IN ARRAY ARRAY['packet', 'claim', 'posting'] LOOP
        part := parent || to_char(wanted, '_YYYY_MM_DD');
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', source || parent, part);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', target || parent, part, wanted, wanted + 1);
    END LOOP;
END
$$;
COMMENT ON FUNCTION move_day IS 'Moves the partitions of a day from the parents with the one prefix to those with the other.';

CREATE FUNCTION detach_day(wanted date) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- Others wait behind whoever waits for such locks: for a moment only.
    PERFORM set_config('lock_timeout', '200', true);
    PERFORM pg_advisory_xact_lock(hashtext('ensure_day'));
    -- Whoever writes into a day has asked for it a minute ago at most.
    UPDATE ledger_day SET detached_at = now()
    WHERE day = wanted AND day < detachable_before() AND sealed_at IS NOT NULL AND detached_at IS NULL
        AND asked_at < now() - interval '5 minutes'
        AND NOT EXISTS (SELECT FROM packet WHERE packet.day = wanted AND packet.state = 'open');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM move_day(wanted, '', 'detached_');
    RETURN true;
END
$$;
COMMENT ON FUNCTION detach_day IS 'Detaches a day, in its transaction all or nothing. False where it is not old, not sealed, or detached already.';

CREATE OR REPLACE FUNCTION ensure_day(wanted date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    part text;
BEGIN
    -- Asked again and again by those who settle: most times all is there.
    IF to_regclass('posting' || to_char(wanted, '_YYYY_MM_DD')) IS NOT NULL THEN
        UPDATE ledger_day SET asked_at = now(), sealed_at = NULL WHERE day = wanted AND detached_at IS NULL;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- Whoever cannot have a lock at once gives up and comes again: a change of tables that waits makes all others wait.
    PERFORM set_config('lock_timeout', '500', true);
    -- One at a time: two ledger workers meet the first record of a day together.
    PERFORM pg_advisory_xact_lock(hashtext('ensure_day'));
    FOREACH parent IN ARRAY ARRAY['packet', 'claim', 'posting'] LOOP
        part := parent || to_char(wanted, '_YYYY_MM_DD');
        IF to_regclass(part) IS NULL THEN
            -- Made apart and attached, which lets readers and writers of the parent go on; PARTITION OF would not.
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, wanted, wanted + 1);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM ledger_day WHERE day = wanted AND detached_at IS NOT NULL) THEN
        PERFORM move_day(wanted, 'detached_', '');
    END IF;
    -- Whoever asks for a day is about to write into it.
    INSERT INTO ledger_day (day) VALUES (wanted)
    ON CONFLICT (day) DO UPDATE SET asked_at = now(), sealed_at = NULL, detached_at = NULL;
END
$$;
COMMENT ON FUNCTION ensure_day IS 'Makes the partitions of a day where they are not there, and takes them back where they are detached; the day is not sealed then.';

-- As in 0006, of the whole. A row's digest is what it was, so the marks of earlier audits stay.
CREATE OR REPLACE VIEW movement AS
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
FROM whole_posting p
LEFT JOIN account d ON d.id = p.debit_account
LEFT JOIN account c ON c.id = p.credit_account
LEFT JOIN operation o ON o.id = p.operation AND p.kind IN ('packet', 'topup')
LEFT JOIN whole_packet k ON k.day = p.day AND k.id = p.operation AND p.kind <> 'topup'
LEFT JOIN whole_packet r ON r.day = p.day AND r.id = p.operation AND p.kind = 'refund'
LEFT JOIN whole_claim l ON l.day = p.day AND l.packet = p.operation AND l.owner = c.owner AND p.kind = 'claim'
CROSS JOIN LATERAL (
    SELECT (extract(epoch FROM p.at) * 1000)::bigint AS posted, (extract(epoch FROM o.at) * 1000)::bigint AS operation,
        (extract(epoch FROM k.opened_at) * 1000)::bigint AS opened,
        (extract(epoch FROM k.expires_at) * 1000)::bigint AS expires,
        (extract(epoch FROM l.claimed_at) * 1000)::bigint AS claimed, (extract(epoch FROM r.over_at) * 1000)::bigint AS over
) at;
