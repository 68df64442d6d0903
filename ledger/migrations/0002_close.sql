-- Packets are closed and expire: what is left of them goes back.

ALTER TABLE packet ADD COLUMN over_at timestamptz;
ALTER TABLE packet ADD CHECK ((state IN ('closed', 'expired')) = (over_at IS NOT NULL));
COMMENT ON COLUMN packet.over_at IS 'When it was closed or expired, by Redis: what was left went back then.';

-- A CHECK of a partitioned table is one of each partition too, which keeps it where the parent loses it.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'posting'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS posting_kind_check', part);
    END LOOP;
END
$$;
ALTER TABLE posting DROP CONSTRAINT posting_kind_check;
ALTER TABLE posting ADD CONSTRAINT posting_kind_check CHECK (kind IN ('topup', 'packet', 'claim', 'refund'));
