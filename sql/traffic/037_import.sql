-- The progress of `leadbridge import`, one row for each slot: written in the transactions of the rows, so that a run
-- after a crash begins after the last row that is here.
CREATE TABLE IF NOT EXISTS {{schema}}.import (
    slot text PRIMARY KEY,
    manifest_sha256 text NOT NULL,
    directory text NOT NULL,
    lsn pg_lsn NOT NULL,
    snapshot_time timestamptz NOT NULL,
    columns text NOT NULL,
    source_table text NOT NULL,
    byte_offset bigint NOT NULL CHECK (byte_offset >= 0),
    rows_done bigint NOT NULL CHECK (rows_done >= 0),
    rows_written bigint NOT NULL DEFAULT 0,
    rows_unchanged bigint NOT NULL DEFAULT 0,
    rows_quarantined bigint NOT NULL DEFAULT 0,
    operator text NOT NULL,
    leadbridge_version text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
COMMENT ON COLUMN {{schema}}.import.manifest_sha256 IS 'tells the export from every other: the hash of its manifest';
COMMENT ON COLUMN {{schema}}.import.snapshot_time IS 'when the export was made, by Landing''s clock: landing_synced_at of its rows';
COMMENT ON COLUMN {{schema}}.import.columns IS 'the columns of Landing that the import carries, as JSON: a retry of quarantined rows reads them';
COMMENT ON COLUMN {{schema}}.import.source_table IS 'the table whose file is being read: landing_leads, lead_journey or scheduled_notifications';
COMMENT ON COLUMN {{schema}}.import.byte_offset IS 'where the next row begins in that file; 0 for the first row';
COMMENT ON COLUMN {{schema}}.import.rows_done IS 'rows of all files that are on Traffic, or in quarantine';
REVOKE ALL ON {{schema}}.import FROM PUBLIC;
