-- The fence around the replicated tables, on either database: a cutover closes Landing's fence, a rollback Traffic's.
-- `leadbridge migrate` installs the fence as the tables' owner. Until a cutover calls close_fence(), the fence does
-- nothing. The lock makes simultaneous installations run after one another.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate'));
-- The query reads the catalog, because a wait for an advisory lock does not refresh the session's catalog cache.
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
COMMENT ON COLUMN {{schema}}.fence.message IS 'message to a refused writer';
COMMENT ON COLUMN {{schema}}.fence.writer IS
    'the session user who passes the fence, in a session with `leadbridge.passes_fence = on`';
COMMENT ON COLUMN {{schema}}.fence.granted IS
    'close_fence() granted the writer the right to write to the tables; lift_fence() revokes the right';
COMMENT ON COLUMN {{schema}}.fence.expires_at IS 'the fence opens by itself at this moment of this server''s clock; null: never';
REVOKE ALL ON {{schema}}.fence FROM PUBLIC;

-- Fires once for each statement, even when the statement touches no row. A transaction whose snapshot is older than
-- the fence does not see the fence's row, and is refused: the fence counts as closed unless known to be open.
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
    -- Not read_only_sql_transaction: some clients take that code for a standby's, and retry without end. A web API
    -- shows message, detail and hint to anonymous clients, so only the fence's writer is told the fence's id.
    RAISE object_not_in_prerequisite_state USING
        MESSAGE = coalesce(fence.message, TG_ARGV[1], 'writes to this table are closed for maintenance'),
        DETAIL = CASE WHEN ours THEN format('leadbridge fence %s', TG_ARGV[0]) ELSE 'Nothing was written.' END;
END
$function$;

-- The tables that a fence closes. A table that does not exist has no writers.
CREATE OR REPLACE FUNCTION {{schema}}.fenced_tables(with_notifications boolean) RETURNS SETOF regclass
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT to_regclass(name) FROM unnest(ARRAY[{{fenced_leads}}, {{fenced_journeys}}]
        || CASE WHEN with_notifications THEN ARRAY[{{fenced_notifications}}] ELSE '{}' END) AS name
    WHERE to_regclass(name) IS NOT NULL
$function$;

-- Locks the tables against writers, not against readers, and creates the fence's row and triggers, all of which become
-- visible at the caller's commit. The caller's lock_timeout bounds how long a writer waits behind the lock request.
-- `valid_for` null: the fence stays closed until lifted.
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
        -- The trigger must fire under session_replication_role = replica too.
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER leadbridge_fence', fenced);
        IF grants THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO %I', fenced, session_user);
        END IF;
    END LOOP;
END
$function$;

-- Removes a closed fence's expiry, so that the fence stays closed until lifted. False when the fence has already
-- expired or was lifted.
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

-- Keeps the fence from being lifted until the caller's transaction ends; false when the fence is lifted already.
-- `alone`: no other transaction may hold the fence at the same time.
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

-- Lifts the fence without a lock on the tables, by writing one row. True when there was a closed fence.
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

-- Drops the triggers of a lifted fence, if the tables can be locked within the caller's lock_timeout. Until then each
-- statement costs a look at one row.
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
        -- A later cutover may have replaced the trigger with a trigger of its own.
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
