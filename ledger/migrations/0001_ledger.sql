-- The ledger. Money is in integer minor units. Whatever carries a day is partitioned by the day on which its operation
-- was created (UTC), which is a part of the operation's id; so its unique keys contain the day.

CREATE TABLE deployment (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    shards integer NOT NULL CHECK (shards BETWEEN 1 AND 256),
    currency text NOT NULL,
    id_key_fingerprint text NOT NULL,
    split_key_fingerprint text NOT NULL,
    kafka_cluster_id text NOT NULL,
    topic text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE deployment IS 'What never changes in the life of a deployment; a process that disagrees refuses to start.';

CREATE TABLE shard (
    shard integer PRIMARY KEY,
    next_offset bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    epoch_taken bigint NOT NULL DEFAULT 0,
    epoch_fenced bigint NOT NULL DEFAULT 0,
    chain bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(chain) = 32)
);
COMMENT ON COLUMN shard.next_offset IS 'The first record of the partition that is not settled yet; moved in the transaction that settles.';
COMMENT ON COLUMN shard.epoch_taken IS 'The highest epoch number handed to an owner who opens the shard.';
COMMENT ON COLUMN shard.epoch_fenced IS 'The highest Fence settled; items of a lower epoch are ignored from there on.';
COMMENT ON COLUMN shard.chain IS 'The head of the hash chain over the settled records, see record.chain.';

CREATE TABLE record (
    shard integer NOT NULL REFERENCES shard,
    kafka_offset bigint NOT NULL,
    epoch bigint NOT NULL,
    applied integer NOT NULL,
    repeated integer NOT NULL,
    ignored integer NOT NULL,
    chain bytea NOT NULL CHECK (length(chain) = 32),
    PRIMARY KEY (shard, kafka_offset)
);
COMMENT ON TABLE record IS 'Every settled record: how many of its events were applied, were repeats, were of a lower epoch.';
COMMENT ON COLUMN record.chain IS 'SHA-256 of the chain before it and the SHA-256 of the record''s bytes.';

CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard integer NOT NULL REFERENCES shard,
    owner text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('wallet', 'escrow', 'funding')),
    debits_minor bigint NOT NULL DEFAULT 0 CHECK (debits_minor >= 0),
    credits_minor bigint NOT NULL DEFAULT 0 CHECK (credits_minor >= 0),
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    UNIQUE (owner, kind, shard),
    -- Partitions settle at different paces, so a wallet may be below zero for a moment; an escrow never is, since all
    -- that touches it is in one partition.
    CHECK (kind <> 'escrow' OR credits_minor >= debits_minor)
);
COMMENT ON TABLE account IS 'Balance = credits - debits. An owner''s escrow holds what his packets and payments have not given out yet.';
COMMENT ON COLUMN account.version IS 'How many postings have moved it; each posting keeps the version and the balance that it made.';

CREATE TABLE operation (
    identity bytea PRIMARY KEY CHECK (length(identity) = 16),
    id text NOT NULL UNIQUE,
    shard integer NOT NULL REFERENCES shard,
    day date NOT NULL,
    kind text NOT NULL CHECK (kind IN ('packet', 'topup')),
    at timestamptz NOT NULL,
    terms bytea NOT NULL
);
COMMENT ON TABLE operation IS 'Identities never expire, so this table has no partitions. terms: what was asked for, as in the event.';

CREATE TABLE packet (
    day date NOT NULL,
    id text NOT NULL,
    shard integer NOT NULL,
    owner text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('lucky', 'equal')),
    total_minor bigint NOT NULL CHECK (total_minor > 0),
    shares integer NOT NULL CHECK (shares > 0),
    cap_minor bigint NOT NULL,
    min_minor bigint NOT NULL CHECK (min_minor > 0),
    currency text NOT NULL,
    greeting text NOT NULL,
    commitment text NOT NULL,
    opened_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'sold_out', 'closed', 'expired')),
    claimed_shares integer NOT NULL DEFAULT 0,
    claimed_minor bigint NOT NULL DEFAULT 0,
    last_sequence integer NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, id),
    CHECK (claimed_shares BETWEEN 0 AND shares),
    CHECK (claimed_minor >= 0 AND refunded_minor >= 0 AND claimed_minor + refunded_minor <= total_minor),
    CHECK ((state = 'open') = (claimed_minor + refunded_minor < total_minor)),
    CHECK ((state = 'sold_out') = (claimed_shares = shares))
) PARTITION BY RANGE (day);
COMMENT ON COLUMN packet.last_sequence IS 'The highest sequence of a settled claim: one above it is not in the ledger yet.';
CREATE INDEX ON packet (shard, expires_at) WHERE state = 'open';

CREATE TABLE claim (
    day date NOT NULL,
    packet text NOT NULL,
    share integer NOT NULL CHECK (share > 0),
    owner text NOT NULL,
    sequence integer NOT NULL CHECK (sequence > 0),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (day, packet, share),
    UNIQUE (day, packet, owner)
) PARTITION BY RANGE (day);
-- No foreign key to packet: it would be checked for each claim, and lock both tables whenever a day is added. The
-- settlement finds the packet of every claim, and the audit counts them.

CREATE TABLE posting (
    day date NOT NULL,
    shard integer NOT NULL,
    kafka_offset bigint NOT NULL,
    item integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('topup', 'packet', 'claim')),
    operation text NOT NULL,
    debit_account bigint NOT NULL,
    debit_version bigint NOT NULL,
    debit_balance_minor bigint NOT NULL,
    credit_account bigint NOT NULL,
    credit_version bigint NOT NULL,
    credit_balance_minor bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    at timestamptz NOT NULL,
    PRIMARY KEY (day, shard, kafka_offset, item),
    UNIQUE (day, debit_account, debit_version),
    UNIQUE (day, credit_account, credit_version),
    CHECK (debit_account <> credit_account)
) PARTITION BY RANGE (day);
COMMENT ON TABLE posting IS 'One movement of money: amount from the debited to the credited account. It names the record and the item that made it.';

CREATE TABLE dead_letter (
    shard integer NOT NULL REFERENCES shard,
    kafka_offset bigint NOT NULL,
    item integer NOT NULL,
    reason text NOT NULL,
    event text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, kafka_offset, item)
);
COMMENT ON TABLE dead_letter IS 'Events that contradict the ledger, set aside one by one and never applied in silence.';

-- What has happened is only ever added to.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON record FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON operation FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON claim FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON posting FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON record EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON operation EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON claim EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON posting EXECUTE FUNCTION refuse_change();

CREATE FUNCTION ensure_day(wanted date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    part text;
BEGIN
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
END
$$;
COMMENT ON FUNCTION ensure_day IS 'Makes the partitions of a day where they are not there.';
