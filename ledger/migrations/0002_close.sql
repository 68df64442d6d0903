-- Packets are closed and expire: what is left of them goes back. Both tables are looked through for their new CHECKs.

ALTER TABLE packet ADD COLUMN over_at timestamptz;
ALTER TABLE packet ADD CHECK ((state IN ('closed', 'expired')) = (over_at IS NOT NULL));
COMMENT ON COLUMN packet.over_at IS 'When it was closed or expired, by Redis: what was left went back then.';

ALTER TABLE posting DROP CONSTRAINT posting_kind_check;
ALTER TABLE posting ADD CONSTRAINT posting_kind_check CHECK (kind IN ('topup', 'packet', 'claim', 'refund'));
