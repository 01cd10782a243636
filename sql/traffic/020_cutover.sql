-- The cutover's state tables: the journal of cutovers and rollbacks, the markers that came through the stream, and the
-- position of reverse replication.

-- One row for each cutover and each rollback. `leadbridge cutover` writes each state in the transaction that
-- reaches the state. Applications may read here which database is the system of record, Traffic for `switched`, Landing
-- for `rolled_back` and for no row. An aborted cutover or rollback changes nothing:
--   SELECT state FROM {{schema}}.cutover WHERE state IN ('switched', 'rolled_back')
--   ORDER BY finished_at DESC LIMIT 1
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
    'by this server''s clock: a cutover that is not decided by then is aborted, and its fence lifted';
COMMENT ON COLUMN {{schema}}.cutover.finished_at IS 'when the cutover was switched, rolled back or aborted';
COMMENT ON COLUMN {{schema}}.cutover.lifted_at IS
    'when the fence that an aborted cutover or a finished rollback leaves on Landing was lifted';
COMMENT ON COLUMN {{schema}}.cutover.reason IS 'why the cutover was aborted';
ALTER TABLE {{schema}}.cutover
    ADD COLUMN IF NOT EXISTS refuse_for interval,
    ADD COLUMN IF NOT EXISTS hook_begun_at timestamptz, ADD COLUMN IF NOT EXISTS hook_xid xid8,
    ADD COLUMN IF NOT EXISTS hook_ended_at timestamptz, ADD COLUMN IF NOT EXISTS hook_undone_at timestamptz;
COMMENT ON COLUMN {{schema}}.cutover.refuse_for IS
    'how long Traffic refuses writers after a rollback, from the moment when Landing takes writes';
COMMENT ON COLUMN {{schema}}.cutover.hook_begun_at IS 'when the hook was about to run with LEADBRIDGE_EVENT=switch';
COMMENT ON COLUMN {{schema}}.cutover.hook_xid IS 'a transaction of Traffic before the hook could have any effect';
COMMENT ON COLUMN {{schema}}.cutover.hook_ended_at IS 'when the hook had succeeded';
COMMENT ON COLUMN {{schema}}.cutover.hook_undone_at IS
    'when the hook had succeeded with LEADBRIDGE_EVENT=abort, or an operator had said so (--hook-undone)';
-- Two undecided cutovers at once would each lift the other's fence.
CREATE UNIQUE INDEX IF NOT EXISTS cutover_undecided_idx ON {{schema}}.cutover (slot)
    WHERE state IN ('started', 'fenced', 'drained', 'verified');

-- Rows that applications wrote on Traffic because of a hook whose cutover was aborted. Landing is the system of record and
-- does not have these rows: an operator writes them there. A row without an image was deleted on Traffic.
CREATE TABLE IF NOT EXISTS {{schema}}.left_on_traffic (
    cutover_id uuid NOT NULL REFERENCES {{schema}}.cutover (id) ON DELETE CASCADE,
    traffic_table text NOT NULL,
    row_id uuid NOT NULL,
    image jsonb,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cutover_id, traffic_table, row_id)
);

-- A marker is a message in the source's WAL. The command that waits for a marker makes the marker's row, before the
-- marker is written; the transaction that commits everything before the marker sets the row's position. A message that
-- no row announces is ignored, because any role may write one.
CREATE TABLE IF NOT EXISTS {{schema}}.markers (
    id uuid PRIMARY KEY,
    slot text NOT NULL,
    lsn pg_lsn NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN {{schema}}.markers.slot IS 'the slot whose stream carries the marker';
COMMENT ON COLUMN {{schema}}.markers.lsn IS
    'the marker''s position in the source''s WAL; 0/0 until everything before the marker is committed on the other side';

-- The position of reverse replication: up to where Traffic's changes since the switch are on Landing. One row for each
-- installation that has switched.
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
ALTER TABLE {{schema}}.reverse ADD COLUMN IF NOT EXISTS published text;
ALTER TABLE {{schema}}.reverse ADD COLUMN IF NOT EXISTS new_slot_since timestamptz;
ALTER TABLE {{schema}}.reverse ADD COLUMN IF NOT EXISTS new_slot_made_at timestamptz;
COMMENT ON COLUMN {{schema}}.reverse.published IS
    'Traffic''s publication, its tables and their columns in Traffic''s catalog at the switch, as JSON; null until the daemon''s next start where the switch recorded nothing';
COMMENT ON COLUMN {{schema}}.reverse.new_slot_since IS
    'since when a new slot on Landing is being made in place of a lost one, until its position is recorded; null otherwise';
COMMENT ON COLUMN {{schema}}.reverse.new_slot_made_at IS
    'when the position of the latest new slot on Landing was recorded; null without such a slot';
COMMENT ON COLUMN {{schema}}.reverse.storage IS
    'for each table of Traffic, OID and file at switch_xid: a later rewrite gives every row another xmin';
COMMENT ON COLUMN {{schema}}.reverse.switch_xid IS
    'rows that this and later transactions write on Traffic must be on Landing, too';
COMMENT ON COLUMN {{schema}}.reverse.slot IS 'the slot of the forward direction, which names the installation';
COMMENT ON COLUMN {{schema}}.reverse.applied_lsn IS
    'everything that Traffic committed before this position is committed on Landing; at first the position of Traffic when the last change from Landing had been applied';

-- Rows of Traffic that Landing could not take. Only the row's key is kept, because a retry reads the row again.
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
ALTER TABLE {{schema}}.reverse_quarantine ADD COLUMN IF NOT EXISTS is_delete boolean;
COMMENT ON COLUMN {{schema}}.reverse_quarantine.is_delete IS
    'whether Landing refused to delete the row; null for an entry of an earlier version';

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;

-- The plan begins here.
-- The publication for reverse replication. The role that runs the migrations publishes the tables, because the daemon's
-- role owns no table. A publication costs nothing until a slot reads the tables' changes.
DO $publication$
DECLARE
    wanted text;
    dismantled boolean := false;
BEGIN
    -- `leadbridge finish` drops the publication for good.
    IF to_regclass('{{schema}}.finish') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM {{schema}}.finish WHERE slot = $1 AND dismantling_at IS NOT NULL)'
        INTO dismantled USING {{slot_name}};
    END IF;
    IF dismantled THEN
        RETURN;
    END IF;
    -- The owner's own plan must not depend on row-level security that is forced on the owner.
    PERFORM pg_catalog.set_config('row_security', 'on', true);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {{reverse_publication_name}}) THEN
        PERFORM pg_temp.leadbridge_change('publication ' || {{reverse_publication_name}}, $statement$
            CREATE PUBLICATION {{reverse_publication}} WITH (publish = 'insert, update, delete, truncate')$statement$);
    END IF;
    FOREACH wanted IN ARRAY ARRAY['{{traffic}}.traffic_leads', '{{traffic}}.traffic_lead_journey',
                                  '{{traffic}}.traffic_scheduled_notifications']
    LOOP
        CONTINUE WHEN NOT pg_temp.leadbridge_will_have(wanted) OR EXISTS (
            SELECT FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            WHERE p.pubname = {{reverse_publication_name}} AND r.prrelid = to_regclass(wanted)
        );
        -- The plan of a DELETE fails where the published table's writers would fail. Then nothing is published.
        PERFORM pg_temp.leadbridge_change(
            format('table %s in publication %s', replace(wanted, '"', ''), {{reverse_publication_name}}),
            format('ALTER PUBLICATION {{reverse_publication}} ADD TABLE %1$s; EXPLAIN DELETE FROM %1$s', wanted));
    END LOOP;
END
$publication$;
