-- When a record was settled: what a statement is ordered by. A record is written while its transaction holds every wallet
-- that it moves, so along the versions of a wallet this time does not go back. By default, so that a version before
-- writes it too; in two steps, so that no row that is there is rewritten: they have none.

ALTER TABLE record ADD COLUMN settled_at timestamptz;
ALTER TABLE record ALTER COLUMN settled_at SET DEFAULT clock_timestamp();
COMMENT ON COLUMN record.settled_at IS 'By this server''s clock; null where a version before settled it.';
