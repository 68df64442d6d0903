-- Which request asked for a movement: `redpacket trace` finds an operation by it. Every posting is looked through for the
-- new index, which is empty.

ALTER TABLE posting ADD COLUMN request text NOT NULL DEFAULT '';
COMMENT ON COLUMN posting.request IS 'The id of the request that asked for it first; empty where the shard''s owner did, or a version before.';
CREATE INDEX ON posting (request) WHERE request <> '';

-- What is held in escrow, shard by shard, is compared with what the packets have left.
CREATE INDEX ON account (shard) WHERE kind = 'escrow';
