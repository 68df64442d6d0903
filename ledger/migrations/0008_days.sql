-- What lets a statement look at the days that it needs, and at no others: which days there are, which of them are sealed,
-- and where among these a wallet moved. And one table without partitions for packets whose time may not be over.
-- Takes a lock on `packet` that makes settling wait while open packets are copied, through an index of them: short.

CREATE TABLE ledger_day (
    day date PRIMARY KEY,
    asked_at timestamptz NOT NULL DEFAULT now(),
    sealed_at timestamptz
);
COMMENT ON TABLE ledger_day IS 'Each day that has partitions.';
COMMENT ON COLUMN ledger_day.asked_at IS 'When somebody was last about to write into it, by ensure_day: again after a minute.';
COMMENT ON COLUMN ledger_day.sealed_at IS 'Since when account_day has all of the day: it is over, and no packet of it is open. Null again when something of the day is settled late.';
CREATE INDEX ON ledger_day (day) WHERE sealed_at IS NULL;

CREATE TABLE account_day (
    account bigint NOT NULL,
    first_version bigint NOT NULL,
    last_version bigint NOT NULL CHECK (last_version >= first_version),
    day date NOT NULL,
    PRIMARY KEY (account, first_version)
);
CREATE INDEX ON account_day (account, last_version);
COMMENT ON TABLE account_day IS 'Of each wallet and sealed day the lowest and the highest version that a posting of this day made. Derived from posting; a statement notices where it is not whole.';

CREATE TABLE ending (
    shard integer NOT NULL,
    expires_at timestamptz NOT NULL,
    id text NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (shard, expires_at, id)
);
COMMENT ON TABLE ending IS 'Packets that may be open. The owner of the shard takes out what is over once its time has come.';

-- In the database, so that the workers of the version before keep it, too. Sends alone come here: a claim costs nothing.
CREATE FUNCTION keep_ending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ending (shard, expires_at, id, day) SELECT shard, expires_at, id, day FROM added ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_ending AFTER INSERT ON packet REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION keep_ending();
INSERT INTO ending (shard, expires_at, id, day) SELECT shard, expires_at, id, day FROM packet WHERE state = 'open';

CREATE OR REPLACE FUNCTION ensure_day(wanted date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    part text;
BEGIN
    -- Asked again and again by those who settle: most times all is there.
    IF to_regclass('posting' || to_char(wanted, '_YYYY_MM_DD')) IS NOT NULL THEN
        UPDATE ledger_day SET asked_at = now(), sealed_at = NULL WHERE day = wanted;
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
    -- Whoever asks for a day is about to write into it.
    INSERT INTO ledger_day (day) VALUES (wanted) ON CONFLICT (day) DO UPDATE SET asked_at = now(), sealed_at = NULL;
END
$$;
COMMENT ON FUNCTION ensure_day IS 'Makes the partitions of a day where they are not there; the day is not sealed then.';
INSERT INTO ledger_day (day)
SELECT to_date(right(inhrelid::regclass::text, 10), 'YYYY_MM_DD') FROM pg_inherits WHERE inhparent = 'packet'::regclass;
