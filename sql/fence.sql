-- The fence around the replicated tables, on either database: a cutover closes it on Landing, a rollback on Traffic.
-- Installed by `leadbridge migrate`, as the tables' owner; until a cutover calls it, nothing of it acts.
-- Two runs at once: one after the other.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate'));
-- The catalog is read, not the session's cache of it, which a wait for an advisory lock does not renew.
DO $schema$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {{schema_name}}) THEN
        CREATE SCHEMA {{schema}};
    END IF;
END
$schema$;

-- One row for each time the fence was closed.
CREATE TABLE IF NOT EXISTS {{schema}}.fence (
    cutover_id uuid PRIMARY KEY,
    message text NOT NULL,
    writer name NOT NULL,
    granted boolean NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    lifted_at timestamptz
);
COMMENT ON COLUMN {{schema}}.fence.message IS 'what a writer is told';
COMMENT ON COLUMN {{schema}}.fence.writer IS
    'the session user who may write all the same, in a session that says `leadbridge.passes_fence = on`';
COMMENT ON COLUMN {{schema}}.fence.granted IS
    'the writer may write to the tables only since it was closed: taken back when it is lifted';
COMMENT ON COLUMN {{schema}}.fence.expires_at IS 'lifted by itself at this moment of this server''s clock; null: never';
REVOKE ALL ON {{schema}}.fence FROM PUBLIC;

-- Fires once for each statement, also for one that touches no row. A transaction whose snapshot is older than the
-- fence does not see its row, and is refused: the fence is closed unless it is known to be open.
CREATE OR REPLACE FUNCTION {{schema}}.refuse_write() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    fence record;
    ours boolean;
BEGIN
    SELECT * INTO fence FROM {{schema}}.fence AS f WHERE f.cutover_id = TG_ARGV[0]::uuid;
    IF fence.lifted_at IS NOT NULL OR fence.expires_at <= clock_timestamp() THEN
        RETURN NULL;
    END IF;
    ours := coalesce(session_user = fence.writer, false);
    IF ours AND current_setting('leadbridge.passes_fence', true) = 'on' THEN
        RETURN NULL;
    END IF;
    -- Not read_only_sql_transaction: some clients take that for a standby, and try again for ever. An anonymous client
    -- of a web API is shown message, detail and hint: only our own role is told which fence refused the write.
    RAISE object_not_in_prerequisite_state USING
        MESSAGE = coalesce(fence.message, TG_ARGV[1], 'writes to this table are closed for maintenance'),
        DETAIL = CASE WHEN ours THEN format('leadbridge fence %s', TG_ARGV[0]) ELSE 'Nothing was written.' END;
END
$function$;

-- The tables that a fence stands around. A table that is not there has no writers.
CREATE OR REPLACE FUNCTION {{schema}}.fenced_tables(with_notifications boolean) RETURNS SETOF regclass
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT to_regclass(name) FROM unnest(ARRAY[{{fenced_leads}}, {{fenced_journeys}}]
        || CASE WHEN with_notifications THEN ARRAY[{{fenced_notifications}}] ELSE '{}' END) AS name
    WHERE to_regclass(name) IS NOT NULL
$function$;

-- Locks the tables against writers, readers carry on, and puts the triggers on them; both become visible when the
-- caller commits. The caller's lock_timeout bounds how long a writer may have to wait behind this.
-- `valid_for` null: until it is lifted.
CREATE OR REPLACE FUNCTION {{schema}}.close_fence(
    cutover uuid, told text, valid_for interval, with_notifications boolean
) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    fenced regclass;
    grants boolean;
BEGIN
    FOR fenced IN SELECT * FROM {{schema}}.fenced_tables(with_notifications)
    LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', fenced);
    END LOOP;
    SELECT NOT bool_and(has_table_privilege(session_user, t, 'INSERT')
        AND has_table_privilege(session_user, t, 'UPDATE') AND has_table_privilege(session_user, t, 'DELETE'))
    INTO grants FROM {{schema}}.fenced_tables(with_notifications) AS t;
    INSERT INTO {{schema}}.fence (cutover_id, message, writer, granted, expires_at)
    VALUES (cutover, told, session_user, grants, clock_timestamp() + valid_for);
    FOR fenced IN SELECT * FROM {{schema}}.fenced_tables(with_notifications)
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER leadbridge_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION {{schema}}.refuse_write(%L, %L)', fenced, cutover, told);
        -- Also under session_replication_role = replica.
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER leadbridge_fence', fenced);
        IF grants THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO %I', fenced, session_user);
        END IF;
    END LOOP;
END
$function$;

-- Makes a closed fence stay until it is lifted. False when it has already expired or was lifted.
CREATE OR REPLACE FUNCTION {{schema}}.keep_fence(cutover uuid) RETURNS boolean
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
    WITH kept AS (
        UPDATE {{schema}}.fence SET expires_at = NULL
        WHERE cutover_id = cutover AND lifted_at IS NULL
            AND (expires_at IS NULL OR expires_at > clock_timestamp())
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM kept)
$function$;

-- Keeps it from being lifted until the caller's transaction ends; false when it is lifted already. `alone`: nobody else
-- keeps it so meanwhile.
CREATE OR REPLACE FUNCTION {{schema}}.hold_fence(cutover uuid, alone boolean) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    IF alone THEN
        PERFORM FROM {{schema}}.fence WHERE cutover_id = cutover AND lifted_at IS NULL FOR UPDATE;
    ELSE
        PERFORM FROM {{schema}}.fence WHERE cutover_id = cutover AND lifted_at IS NULL FOR SHARE;
    END IF;
    RETURN FOUND;
END
$function$;

-- Opens it at once, without a lock on the tables: one row is written. True when there was one to lift.
CREATE OR REPLACE FUNCTION {{schema}}.lift_fence(cutover uuid) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    lifted record;
    fenced regclass;
BEGIN
    UPDATE {{schema}}.fence SET lifted_at = clock_timestamp()
    WHERE cutover_id = cutover AND lifted_at IS NULL
    RETURNING writer, granted INTO lifted;
    IF lifted.granted THEN
        FOR fenced IN SELECT * FROM {{schema}}.fenced_tables(true)
        LOOP
            EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %s FROM %I', fenced, lifted.writer);
        END LOOP;
    END IF;
    RETURN lifted IS NOT NULL;
END
$function$;

-- A trigger that refuses nothing any more is taken away, if the tables can be locked within the caller's
-- lock_timeout: until then it costs a look at one row for each statement.
CREATE OR REPLACE FUNCTION {{schema}}.remove_lifted_fence(cutover uuid) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    fenced regclass;
BEGIN
    IF NOT EXISTS (
        SELECT FROM {{schema}}.fence WHERE cutover_id = cutover AND lifted_at IS NOT NULL
    ) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('fence %s is not lifted', cutover);
    END IF;
    FOR fenced IN SELECT * FROM {{schema}}.fenced_tables(true)
    LOOP
        -- Another cutover may have put its own in its place.
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = fenced AND t.tgname = 'leadbridge_fence'
                AND encode(t.tgargs, 'escape') LIKE cutover || '%'
        );
        EXECUTE format('DROP TRIGGER leadbridge_fence ON %s', fenced);
    END LOOP;
END
$function$;

REVOKE ALL ON FUNCTION {{schema}}.refuse_write(), {{schema}}.fenced_tables(boolean),
    {{schema}}.close_fence(uuid, text, interval, boolean), {{schema}}.keep_fence(uuid),
    {{schema}}.hold_fence(uuid, boolean), {{schema}}.lift_fence(uuid), {{schema}}.remove_lifted_fence(uuid) FROM PUBLIC;
