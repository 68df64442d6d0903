-- Before 0.1.0 files were changed after they had been applied (texts.txt). What an earlier text has made differently is
-- brought to what the present one makes. Where there is nothing to mend, nothing is looked through.

DO $$
BEGIN
    -- Not by IF EXISTS, which locks each partition of the table whether it has the constraint or not.
    IF EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = 'claim'::regclass AND conname = 'claim_day_packet_fkey'
    ) THEN
        ALTER TABLE claim DROP CONSTRAINT claim_day_packet_fkey;
    END IF;
    IF NOT EXISTS (
        SELECT FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'packet' AND column_name = 'last_sequence'
    ) THEN
        ALTER TABLE packet ADD COLUMN last_sequence integer NOT NULL DEFAULT 0;
        UPDATE packet SET last_sequence = c.sequence
        FROM (SELECT day, packet, max(sequence) AS sequence FROM claim GROUP BY day, packet) c
        WHERE packet.day = c.day AND packet.id = c.packet;
    END IF;
END
$$;
COMMENT ON COLUMN packet.last_sequence IS 'The highest sequence of a settled claim: one above it is not in the ledger yet.';

-- Its digests were of movements alone: the next audit reads from the start.
DELETE FROM audit_mark WHERE EXISTS (
    SELECT FROM migration
    WHERE name = '0006_audit.sql' AND sha256 = 'a5945b4485f4a54abcd4ef870538721d8de485c65f0a77e743684f471d64a0b1'
);
COMMENT ON COLUMN audit_mark.digest IS 'The sum of the digests of all movements, records and dead letters below next_offset; movements counts the first, moved_minor sums their amounts.';
