-- Which Redis is the deployment's: a process that is led to another one refuses.

CREATE TABLE redis (
    generation integer PRIMARY KEY CHECK (generation >= 1),
    name text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE redis IS 'Every Redis that has been the deployment''s; the highest generation is the one that is.';
COMMENT ON COLUMN redis.name IS 'Host, port and database, or socket, by the URL it was given as, without what is secret in it.';

ALTER TABLE shard ADD COLUMN redis_generation integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN shard.redis_generation IS 'On which Redis the shard may be opened: an owner of another generation gets no number to open it under.';
