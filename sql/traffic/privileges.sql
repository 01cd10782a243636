-- The role that leadbridge uses on Traffic, with the least that it needs. For a superuser (on Supabase:
-- `postgres`) to run, after the migrations.
-- Afterwards set a password in psql, so that it appears in no file and in no log: \password {{role}}
--
-- BYPASSRLS    because row-level security would silently hide rows from the comparison and from updates. It
--              opens no table that is not granted below.
DO $role$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {{role_name}}) THEN
        CREATE ROLE {{role}} LOGIN;
    END IF;
END
$role$;
ALTER ROLE {{role}} LOGIN BYPASSRLS NOCREATEDB NOCREATEROLE;
ALTER ROLE {{role}} SET statement_timeout = 0;

GRANT USAGE ON SCHEMA {{traffic}}, {{schema}} TO {{role}};
GRANT SELECT, INSERT, UPDATE, DELETE ON {{written}} TO {{role}};
GRANT EXECUTE ON FUNCTION {{traffic}}.normalize_phone(text) TO {{role}};

-- Attribution, for reports.
GRANT SELECT ON {{traffic}}.traffic_users, {{traffic}}.traffic_user_utm_sources TO {{role}};

-- Its own books. What was migrated is recorded by whoever migrates.
GRANT SELECT, INSERT, UPDATE, DELETE
    ON {{schema}}.checkpoint, {{schema}}.quarantine, {{schema}}.conversion_notes,
       {{schema}}.cutover, {{schema}}.markers, {{schema}}.reverse, {{schema}}.reverse_quarantine,
       {{schema}}.finish, {{schema}}.installation, {{schema}}.last_error TO {{role}};
GRANT SELECT ON {{schema}}.migrations, {{schema}}.fence, {{schema}}.deferred_indexes TO {{role}};

-- For a snapshot into an empty table: its indexes are left out, and made when the rows are there.
GRANT EXECUTE ON FUNCTION {{schema}}.defer_indexes(regclass), {{schema}}.make_deferred_index() TO {{role}};

-- For a rollback: the fence on this side; and, from a cutover on, the slot from which changes flow back.
GRANT EXECUTE ON FUNCTION {{schema}}.fenced_tables(boolean),
    {{schema}}.close_fence(uuid, text, interval, boolean), {{schema}}.keep_fence(uuid),
    {{schema}}.hold_fence(uuid, boolean), {{schema}}.lift_fence(uuid), {{schema}}.remove_lifted_fence(uuid) TO {{role}};
DO $replication$
BEGIN
    ALTER ROLE {{role}} REPLICATION;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'REPLICATION could not be granted: a cutover needs it, the daemon until then does not';
END
$replication$;

-- A row whose key changed on Landing takes its children with it: every table here with a foreign key to its id, and
-- every table with one to such a column, found in the catalog. Of those tables only that column may be read and written.
DO $children$
DECLARE
    child record;
    replicated oid[] := array_remove(ARRAY[
        to_regclass('{{traffic}}.traffic_leads'), to_regclass('{{traffic}}.traffic_lead_journey'),
        to_regclass('{{traffic}}.traffic_scheduled_notifications')]::oid[], NULL);
BEGIN
    FOR child IN
        WITH RECURSIVE moved (relation, attribute) AS (
            SELECT a.attrelid, a.attnum FROM pg_catalog.pg_attribute AS a
            WHERE a.attname = 'id' AND NOT a.attisdropped AND a.attrelid = ANY (replicated)
            UNION
            SELECT c.conrelid, c.conkey[1] FROM moved AS m
            JOIN pg_catalog.pg_constraint AS c ON c.contype = 'f' AND c.conparentid = 0
                AND c.confrelid = m.relation AND c.confkey = ARRAY[m.attribute]
        )
        SELECT m.relation::regclass AS relation, string_agg(quote_ident(a.attname), ', ') AS columns
        FROM moved AS m
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = m.relation AND a.attnum = m.attribute
        WHERE m.relation <> ALL (replicated)
        GROUP BY m.relation
    LOOP
        EXECUTE format('GRANT SELECT (%1$s), UPDATE (%1$s) ON %2$s TO {{role}}',
                       child.columns, child.relation);
    END LOOP;
END
$children$;

-- Replicated rows do not fire ordinary triggers, as PostgreSQL's own apply worker does not. From 15 on this
-- can be granted; where it cannot, the triggers of migration 018 keep updated_at.
DO $parameter$
BEGIN
    GRANT SET ON PARAMETER session_replication_role TO {{role}};
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'session_replication_role could not be granted: migration 018 stands in for it';
END
$parameter$;
