-- The daemon's state tables: the checkpoint, the rows that Traffic could not take, and the values that had to change.

-- One row for each slot. The daemon sets the states `snapshot` and `streaming`, the cutover sets the other states, each
-- in the transaction that reaches the state.
CREATE TABLE IF NOT EXISTS {{schema}}.checkpoint (
    slot text PRIMARY KEY,
    publication text NOT NULL,
    landing_system_id text NOT NULL,
    landing_database text NOT NULL,
    state text NOT NULL
        CHECK (state IN ('snapshot', 'streaming', 'fenced', 'drained', 'verified', 'switched')),
    applied_lsn pg_lsn,
    commit_time timestamptz,
    caught_up_at timestamptz,
    snapshot_time timestamptz,
    run_id uuid NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- Added later: in an older installation these columns are null until the daemon's next start.
ALTER TABLE {{schema}}.checkpoint ADD COLUMN IF NOT EXISTS published text;
ALTER TABLE {{schema}}.checkpoint ADD COLUMN IF NOT EXISTS landing_timeline bigint;
ALTER TABLE {{schema}}.checkpoint ADD COLUMN IF NOT EXISTS settings text;
COMMENT ON COLUMN {{schema}}.checkpoint.settings IS
    'the settings that decide what is replicated, as JSON: a daemon or a command with other settings is refused';
COMMENT ON COLUMN {{schema}}.checkpoint.published IS
    'the publication, its tables and their columns in Landing''s catalog, as JSON';
COMMENT ON COLUMN {{schema}}.checkpoint.landing_timeline IS
    'the timeline of Landing''s WAL on which applied_lsn lies';
COMMENT ON COLUMN {{schema}}.checkpoint.applied_lsn IS
    'end of the last Landing transaction applied, written in the same transaction as its rows';
COMMENT ON COLUMN {{schema}}.checkpoint.commit_time IS
    'commit time of the last Landing transaction applied, by Landing''s clock';
COMMENT ON COLUMN {{schema}}.checkpoint.caught_up_at IS
    'everything committed on Landing before this moment, by Landing''s clock, is applied';

-- When `quarantine` or `conversion_notes` was dropped and is made again, the record of rows that Traffic could not take
-- or of changed values is lost: the next start copies again.
UPDATE {{schema}}.checkpoint SET state = 'snapshot'
WHERE slot = {{slot_name}} AND state = 'streaming'
  AND (to_regclass('{{schema}}.quarantine') IS NULL OR to_regclass('{{schema}}.conversion_notes') IS NULL);

CREATE TABLE IF NOT EXISTS {{schema}}.quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_table text NOT NULL,
    row_id uuid NOT NULL,
    lead_id uuid,
    operation text NOT NULL,
    lsn pg_lsn,
    sqlstate text NOT NULL,
    message text NOT NULL,
    row_data jsonb,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 1,
    UNIQUE (source_table, row_id)
);
-- Added later: a discarded row needs no more work, but still holds the latest known image of its key.
ALTER TABLE {{schema}}.quarantine ADD COLUMN IF NOT EXISTS discarded_at timestamptz;
COMMENT ON COLUMN {{schema}}.quarantine.discarded_at IS
    'when the row was discarded: no longer tried; the image stays for values that a later change of the row does not send';
-- Added later: Traffic refused the row's new key, and holds the row's older image under the earlier key.
ALTER TABLE {{schema}}.quarantine ADD COLUMN IF NOT EXISTS held_under uuid;
COMMENT ON COLUMN {{schema}}.quarantine.held_under IS
    'the key under which Traffic still holds the row; null when that key is row_id, or when Traffic has no such row';
CREATE INDEX IF NOT EXISTS quarantine_lead_idx
    ON {{schema}}.quarantine (lead_id) WHERE lead_id IS NOT NULL;
COMMENT ON COLUMN {{schema}}.quarantine.row_data IS
    'the whole Landing row: each column as PostgreSQL''s text in a JSON string, null for null';

CREATE TABLE IF NOT EXISTS {{schema}}.conversion_notes (
    source_table text,
    row_id uuid,
    column_name text,
    original text NOT NULL,
    reason text NOT NULL,
    lsn pg_lsn,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_table, row_id, column_name)
);

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
