-- Dead letters that a person decides about. What the version before leaves out has a default that freezes nothing.

ALTER TABLE dead_letter
    ADD COLUMN subject text NOT NULL DEFAULT '',
    ADD COLUMN packed bytea NOT NULL DEFAULT '',
    ADD COLUMN at_ms bigint,
    ADD COLUMN decision text CHECK (decision IN ('replayed', 'rejected')),
    ADD COLUMN decided_at timestamptz,
    ADD CHECK ((decision IS NULL) = (decided_at IS NULL));
COMMENT ON TABLE dead_letter IS 'Events that contradict the ledger, set aside one by one; and, as item -1, whole records that hold their shard. Each waits for a person''s decision.';
COMMENT ON COLUMN dead_letter.subject IS 'What is frozen until the decision: a packet by its id, a wallet as wallet:OWNER; empty for nothing.';
COMMENT ON COLUMN dead_letter.packed IS 'The event in msgpack, for a replay; of a record that holds its shard its bytes.';
COMMENT ON COLUMN dead_letter.at_ms IS 'The time by which the event was reserved, in ms since 1970; none for a whole record.';
CREATE INDEX ON dead_letter (subject) WHERE decision IS NULL;

ALTER TABLE shard ADD COLUMN epoch_shut bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN shard.epoch_shut IS 'What Redis holds under this epoch, or a lower one, is not to be trusted: the owner opens the shard anew.';
