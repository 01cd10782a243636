-- The end of a move: one row for each slot whose move is being finished. The daemon reads the row at its start, and so
-- does every command that would start replication, a cutover or a rollback again.
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
    'position up to which Traffic''s changes were on Landing when the backup began: while the position is the same, Landing''s tables are the same';
COMMENT ON COLUMN {{schema}}.finish.left_behind IS
    'transactions of Traffic that were not on Landing when the backup began, where the operator allowed such a lag; null: not known';
COMMENT ON COLUMN {{schema}}.finish.directory IS 'the backup''s directory, on the machine on which `leadbridge finish` ran';
COMMENT ON COLUMN {{schema}}.finish.manifest IS 'the backup''s own manifest: counts and hashes, no row';
COMMENT ON COLUMN {{schema}}.finish.dismantled IS 'the objects to drop, as found before the first of them was dropped';
COMMENT ON COLUMN {{schema}}.finish.dismantling_at IS
    'when the backup was complete: from then on the slots may be gone, and no daemon starts any more';

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
