-- The fence around the replicated tables, on either database: a cutover closes Landing's fence, a rollback Traffic's.
-- `leadbridge migrate` installs the fence as the tables' owner. Until a cutover calls close_fence(), the fence does
-- nothing. `sql/own/served.sql` comes first: it makes the schema, and admit_caller(), which each function with its
-- owner's rights calls first.

-- One row for each time the fence was closed.
CREATE TABLE IF NOT EXISTS {{schema}}.fence (
    cutover_id uuid PRIMARY KEY,
    message text NOT NULL,
    writer name NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    lifted_at timestamptz
);
ALTER TABLE {{schema}}.fence DROP COLUMN IF EXISTS granted, ADD COLUMN IF NOT EXISTS grants jsonb,
    ADD COLUMN IF NOT EXISTS objects jsonb;
COMMENT ON COLUMN {{schema}}.fence.message IS 'message to a refused writer';
COMMENT ON COLUMN {{schema}}.fence.writer IS
    'the session user who passes the fence, in a session with `leadbridge.passes_fence = on`';
COMMENT ON COLUMN {{schema}}.fence.grants IS
    'the privileges that close_fence() granted to the writer, by table; lift_fence() revokes these and no others';
COMMENT ON COLUMN {{schema}}.fence.objects IS
    'the triggers of the fence, as close_fence() created them; fence_damage() compares them with the catalog';
COMMENT ON COLUMN {{schema}}.fence.expires_at IS 'the fence opens by itself at this moment of this server''s clock; null: never';
REVOKE ALL ON {{schema}}.fence FROM PUBLIC;

-- Fires once for each statement, even when the statement touches no row, and once for each row, because the apply worker
-- of a subscription fires no statement triggers. A transaction whose snapshot is older than the fence does not see the
-- fence's row, and is refused: the fence counts as closed unless known to be open.
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
    IF fence.lifted_at IS NULL AND fence.expires_at <= clock_timestamp() THEN
        -- keep_fence() may have removed the expiry in a transaction that this snapshot does not see, or whose commit
        -- waits for a synchronous standby. The lock waits for that transaction, and reads the newest version of the row;
        -- a transaction whose snapshot is older than that version is refused by the lock.
        SELECT * INTO fence FROM {{schema}}.fence AS f WHERE f.cutover_id = TG_ARGV[0]::uuid FOR SHARE;
    END IF;
    IF fence.lifted_at IS NOT NULL OR fence.expires_at <= clock_timestamp() THEN
        RETURN coalesce(NEW, OLD);
    END IF;
    ours := coalesce(session_user = fence.writer, false);
    IF ours AND current_setting('leadbridge.passes_fence', true) = 'on' THEN
        RETURN coalesce(NEW, OLD);
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

-- The names of the triggers of a cutover's fence, for statements and for rows. The names tell the fences of two cutovers
-- and of two installations apart.
CREATE OR REPLACE FUNCTION {{schema}}.fence_triggers(cutover uuid) RETURNS text[]
    LANGUAGE sql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT ARRAY['leadbridge_fence_' || replace(cutover::text, '-', ''),
                 'leadbridge_fence_' || replace(cutover::text, '-', '') || '_rows']
$function$;

-- Creates the triggers of a fence around the tables, and records the triggers. CREATE TRIGGER locks a table against writers.
CREATE OR REPLACE FUNCTION {{schema}}.create_fence_triggers(cutover uuid, told text, tables regclass[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    names text[] := {{schema}}.fence_triggers(cutover);
    fenced regclass;
BEGIN
    FOREACH fenced IN ARRAY tables
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION {{schema}}.refuse_write(%L, %L)', names[1], fenced, cutover, told);
        -- The trigger for statements has judged the statements of a session that passes the fence.
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
            'WHEN (pg_catalog.current_setting(''leadbridge.passes_fence'', true) IS DISTINCT FROM ''on'') '
            'EXECUTE FUNCTION {{schema}}.refuse_write(%L, %L)', names[2], fenced, cutover, told);
        -- The triggers must fire under session_replication_role = replica too.
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I, ENABLE ALWAYS TRIGGER %I', fenced, names[1], names[2]);
    END LOOP;
    UPDATE {{schema}}.fence SET objects = (
        SELECT jsonb_agg(jsonb_build_object('table', t.tgrelid::regclass::text, 'relation', t.tgrelid::bigint,
            'name', t.tgname, 'trigger', t.oid::bigint, 'version', t.xmin::text) ORDER BY t.tgrelid, t.tgname)
        FROM pg_trigger AS t WHERE t.tgrelid = ANY (tables) AND t.tgname = ANY (names)
    ) WHERE cutover_id = cutover;
END
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
    tables regclass[] := ARRAY(SELECT * FROM {{schema}}.fenced_tables(with_notifications));
    fenced regclass;
    other text;
    granted record;
BEGIN
    PERFORM {{schema}}.admit_caller();
    FOREACH fenced IN ARRAY tables
    LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', fenced);
    END LOOP;
    -- A second fence would refuse the session that passes the first, and lifting either would open the tables to writers
    -- whose changes the other installation does not carry.
    SELECT format('%s on %s', t.tgname, t.tgrelid::regclass) INTO other
    FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE t.tgrelid = ANY (tables) AND t.tgname LIKE 'leadbridge\_fence%' AND (n.nspname <> {{schema_name}} OR EXISTS (
        SELECT FROM {{schema}}.fence AS f WHERE t.tgname = ANY ({{schema}}.fence_triggers(f.cutover_id))
        AND f.lifted_at IS NULL AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp())))
    LIMIT 1;
    IF other IS NOT NULL THEN
        RAISE object_in_use USING MESSAGE = format('another fence stands: trigger %s', other);
    END IF;
    INSERT INTO {{schema}}.fence (cutover_id, message, writer, expires_at, grants)
    VALUES (cutover, told, session_user, clock_timestamp() + valid_for, '[]');
    FOR granted IN SELECT t, privilege FROM unnest(tables) AS t, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS privilege
        WHERE NOT has_table_privilege(session_user, t, privilege)
    LOOP
        EXECUTE format('GRANT %s ON %s TO %I', granted.privilege, granted.t, session_user);
        UPDATE {{schema}}.fence
        SET grants = grants || jsonb_build_object('relation', granted.t::oid::bigint, 'privilege', granted.privilege)
        WHERE cutover_id = cutover;
    END LOOP;
    PERFORM {{schema}}.create_fence_triggers(cutover, told, tables);
END
$function$;

-- What of a fence's triggers is not as close_fence() created it, a phrase each: writes may have passed since.
CREATE OR REPLACE FUNCTION {{schema}}.fence_damage(cutover uuid) RETURNS SETOF text
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM {{schema}}.admit_caller();
    RETURN QUERY SELECT CASE
        WHEN c.oid IS NULL THEN format('the table %s was dropped', o."table")
        WHEN to_regclass(o."table") IS DISTINCT FROM c.oid THEN format('%s is another table now', o."table")
        WHEN t.oid IS NULL THEN format('the trigger %s of %s was dropped', o.name, o."table")
        WHEN t.tgenabled <> 'A' THEN format('the trigger %s of %s is not ENABLE ALWAYS', o.name, o."table")
        ELSE format('the trigger %s of %s was altered', o.name, o."table")
    END
    FROM {{schema}}.fence AS f
    CROSS JOIN jsonb_to_recordset(f.objects) AS o ("table" text, relation bigint, name text, "trigger" bigint, version text)
    LEFT JOIN pg_class AS c ON c.oid = o.relation::oid
    LEFT JOIN pg_trigger AS t ON t.oid = o."trigger"::oid AND t.tgrelid = c.oid
    WHERE f.cutover_id = cutover AND f.lifted_at IS NULL
        AND (c.oid IS NULL OR to_regclass(o."table") IS DISTINCT FROM c.oid OR t.oid IS NULL
             OR t.tgname <> o.name OR t.tgenabled <> 'A' OR t.xmin::text <> o.version);
END
$function$;

-- Creates the triggers of a closed fence again, around the tables that have the names now. False when the fence is lifted
-- or has expired. The fence's row is locked before a table, as reverse replication locks them.
CREATE OR REPLACE FUNCTION {{schema}}.restore_fence(cutover uuid, with_notifications boolean) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    told text;
BEGIN
    PERFORM {{schema}}.admit_caller();
    SELECT message INTO told FROM {{schema}}.fence WHERE cutover_id = cutover AND lifted_at IS NULL
        AND (expires_at IS NULL OR expires_at > clock_timestamp()) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM {{schema}}.create_fence_triggers(
        cutover, told, ARRAY(SELECT * FROM {{schema}}.fenced_tables(with_notifications)));
    RETURN true;
END
$function$;

-- Removes a closed fence's expiry, so that the fence stays closed until lifted. False when the fence has already
-- expired or was lifted. A writer that passed because of the expiry holds the row's lock, and passed after the expiry, so
-- the lock comes before the look at the clock.
CREATE OR REPLACE FUNCTION {{schema}}.keep_fence(cutover uuid) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    until timestamptz;
BEGIN
    PERFORM {{schema}}.admit_caller();
    SELECT coalesce(expires_at, 'infinity') INTO until FROM {{schema}}.fence
    WHERE cutover_id = cutover AND lifted_at IS NULL FOR UPDATE;
    IF until IS NULL OR until <= clock_timestamp() THEN
        RETURN false;
    END IF;
    UPDATE {{schema}}.fence SET expires_at = NULL WHERE cutover_id = cutover;
    RETURN true;
END
$function$;

-- Gives a fence without an expiry an expiry, counted from now.
CREATE OR REPLACE FUNCTION {{schema}}.expire_fence(cutover uuid, valid_for interval) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM {{schema}}.admit_caller();
    UPDATE {{schema}}.fence SET expires_at = clock_timestamp() + valid_for
    WHERE cutover_id = cutover AND lifted_at IS NULL AND expires_at IS NULL;
    RETURN FOUND;
END
$function$;

-- Keeps the fence from being lifted until the caller's transaction ends; false when the fence is lifted already.
-- `alone`: no other transaction may hold the fence at the same time.
CREATE OR REPLACE FUNCTION {{schema}}.hold_fence(cutover uuid, alone boolean) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM {{schema}}.admit_caller();
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
    granted record;
BEGIN
    PERFORM {{schema}}.admit_caller();
    UPDATE {{schema}}.fence SET lifted_at = clock_timestamp()
    WHERE cutover_id = cutover AND lifted_at IS NULL
    RETURNING writer, grants INTO lifted;
    FOR granted IN
        SELECT c.oid::regclass AS t, g.privilege
        FROM jsonb_to_recordset(lifted.grants) AS g (relation bigint, privilege text)
        JOIN pg_class AS c ON c.oid = g.relation::oid
    LOOP
        EXECUTE format('REVOKE %s ON %s FROM %I', granted.privilege, granted.t, lifted.writer);
    END LOOP;
    RETURN lifted.writer IS NOT NULL;
END
$function$;

-- Drops the triggers of a lifted fence, if the tables can be locked within the caller's lock_timeout. Until
-- then each statement costs a look at one row.
CREATE OR REPLACE FUNCTION {{schema}}.remove_lifted_fence(cutover uuid) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    found_trigger record;
BEGIN
    PERFORM {{schema}}.admit_caller();
    IF NOT EXISTS (SELECT FROM {{schema}}.fence WHERE cutover_id = cutover AND lifted_at IS NOT NULL) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('fence %s is not lifted', cutover);
    END IF;
    FOR found_trigger IN
        SELECT t.tgname, t.tgrelid::regclass AS fenced FROM pg_trigger AS t
        WHERE t.tgname = ANY ({{schema}}.fence_triggers(cutover)) ORDER BY 2, 1
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.fenced);
    END LOOP;
END
$function$;

REVOKE ALL ON FUNCTION {{schema}}.refuse_write(), {{schema}}.fenced_tables(boolean), {{schema}}.fence_triggers(uuid),
    {{schema}}.create_fence_triggers(uuid, text, regclass[]), {{schema}}.close_fence(uuid, text, interval, boolean),
    {{schema}}.fence_damage(uuid), {{schema}}.restore_fence(uuid, boolean), {{schema}}.keep_fence(uuid),
    {{schema}}.expire_fence(uuid, interval), {{schema}}.hold_fence(uuid, boolean), {{schema}}.lift_fence(uuid),
    {{schema}}.remove_lifted_fence(uuid) FROM PUBLIC;
