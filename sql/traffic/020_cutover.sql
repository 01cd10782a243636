-- The cutover's books: who fenced what and when, which markers came through, how far Traffic's own changes are on
-- Landing in reverse replication.

-- One row for each cutover and each rollback. `leadbridge cutover` writes each state in the transaction that
-- reaches it. Applications may read here which database is the one to write to:
--   the row with the latest finished_at, `switched`: Traffic; `rolled_back`, or none: Landing.
CREATE TABLE IF NOT EXISTS {{schema}}.cutover (
    id uuid PRIMARY KEY,
    slot text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('cutover', 'rollback')),
    state text NOT NULL
        CHECK (state IN ('started', 'fenced', 'drained', 'verified', 'switched', 'rolled_back', 'aborted')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline timestamptz NOT NULL,
    fenced_at timestamptz,
    drained_at timestamptz,
    verified_at timestamptz,
    finished_at timestamptz,
    lifted_at timestamptz,
    reason text,
    certificate jsonb,
    operator text NOT NULL,
    leadbridge_version text NOT NULL
);
COMMENT ON COLUMN {{schema}}.cutover.deadline IS
    'by this server''s clock: what is not decided by then is aborted, and its fence lifted';
COMMENT ON COLUMN {{schema}}.cutover.finished_at IS 'when it was switched, rolled_back or aborted';
COMMENT ON COLUMN {{schema}}.cutover.lifted_at IS
    'when the fence that an aborted cutover or a finished rollback leaves on Landing was lifted';
COMMENT ON COLUMN {{schema}}.cutover.reason IS 'why it was aborted';
-- Two at once would each undo what the other has fenced.
CREATE UNIQUE INDEX IF NOT EXISTS cutover_undecided_idx ON {{schema}}.cutover (slot)
    WHERE state IN ('started', 'fenced', 'drained', 'verified');

-- A marker is a message in the source's WAL. Its row here is written in the transaction in which everything before
-- it is committed.
CREATE TABLE IF NOT EXISTS {{schema}}.markers (
    id uuid PRIMARY KEY,
    slot text NOT NULL,
    lsn pg_lsn NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN {{schema}}.markers.slot IS 'the slot whose stream brought it';

-- How far Traffic's changes since the switch are on Landing; one row for each installation that has switched.
CREATE TABLE IF NOT EXISTS {{schema}}.reverse (
    slot text PRIMARY KEY,
    cutover_id uuid NOT NULL,
    reverse_slot text NOT NULL,
    traffic_system_id text NOT NULL,
    applied_lsn pg_lsn NOT NULL,
    switch_xid xid8 NOT NULL,
    caught_up_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    storage jsonb
);
ALTER TABLE {{schema}}.reverse ADD COLUMN IF NOT EXISTS storage jsonb;
COMMENT ON COLUMN {{schema}}.reverse.storage IS
    'by table, OID and file of Traffic''s tables at switch_xid: a rewrite since then gives every row another xmin';
COMMENT ON COLUMN {{schema}}.reverse.switch_xid IS
    'what is written on Traffic by this and later transactions must be on Landing, too';
COMMENT ON COLUMN {{schema}}.reverse.slot IS 'the slot of the forward direction, which names the installation';
COMMENT ON COLUMN {{schema}}.reverse.applied_lsn IS
    'everything on Traffic before it is committed on Landing; first where Traffic stood when the last change from Landing was there';

-- Rows of Traffic that Landing could not take. Nothing is kept of the row: it is read again when it is tried again.
CREATE TABLE IF NOT EXISTS {{schema}}.reverse_quarantine (
    traffic_table text NOT NULL,
    row_id uuid NOT NULL,
    lsn pg_lsn,
    sqlstate text NOT NULL,
    message text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 1,
    PRIMARY KEY (traffic_table, row_id)
);

-- What flows back after a switch. Published by whoever owns the tables, since the daemon's role does not; it costs
-- nothing until a slot reads it.
DO $publication$
DECLARE
    wanted regclass;
BEGIN
    -- The owner's own plan must not depend on row-level security that is forced on the owner.
    PERFORM pg_catalog.set_config('row_security', 'on', true);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {{reverse_publication_name}}) THEN
        CREATE PUBLICATION {{reverse_publication}} WITH (publish = 'insert, update, delete, truncate');
    END IF;
    FOREACH wanted IN ARRAY array_remove(ARRAY[
        to_regclass('{{traffic}}.traffic_leads'), to_regclass('{{traffic}}.traffic_lead_journey'),
        to_regclass('{{traffic}}.traffic_scheduled_notifications')
    ], NULL)
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            WHERE p.pubname = {{reverse_publication_name}} AND r.prrelid = wanted
        );
        EXECUTE format('ALTER PUBLICATION {{reverse_publication}} ADD TABLE %s', wanted);
        -- PostgreSQL itself says whether the table's writers could go on: where they could not, nothing is published.
        EXECUTE format('EXPLAIN DELETE FROM %s', wanted);
    END LOOP;
END
$publication$;

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
