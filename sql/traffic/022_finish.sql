-- The end of a move: one row for each slot whose move is being finished. The daemon reads it at its start, and so does
-- every command that would begin something again.
CREATE TABLE IF NOT EXISTS {{schema}}.finish (
    slot text PRIMARY KEY,
    cutover_id uuid NOT NULL,
    reverse_applied_lsn pg_lsn NOT NULL,
    left_behind bigint,
    directory text NOT NULL,
    manifest jsonb,
    dismantled jsonb,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dismantling_at timestamptz,
    finished_at timestamptz,
    certificate jsonb,
    operator text NOT NULL,
    leadbridge_version text NOT NULL,
    CHECK (dismantling_at IS NULL OR (manifest IS NOT NULL AND dismantled IS NOT NULL)),
    CHECK (finished_at IS NULL OR (dismantling_at IS NOT NULL AND certificate IS NOT NULL))
);
COMMENT ON COLUMN {{schema}}.finish.reverse_applied_lsn IS
    'how far Traffic''s changes were on Landing when the backup began: while it stays, Landing''s tables do too';
COMMENT ON COLUMN {{schema}}.finish.left_behind IS
    'transactions of Traffic that were not on Landing then, where the operator allowed that; null: not known';
COMMENT ON COLUMN {{schema}}.finish.directory IS 'where the backup is, on the machine that `leadbridge finish` ran on';
COMMENT ON COLUMN {{schema}}.finish.manifest IS 'the backup''s own manifest: counts and hashes, no row';
COMMENT ON COLUMN {{schema}}.finish.dismantled IS 'what is dropped, as it was found before anything of it was';
COMMENT ON COLUMN {{schema}}.finish.dismantling_at IS
    'the backup is complete, and from here on the slots may be gone: no daemon starts any more';

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
