-- The role that leadbridge uses on Landing, with the least privileges. A superuser runs this script after
-- `leadbridge migrate`, or after the script for Landing that `leadbridge migrate --print` shows. On Supabase
-- `postgres` runs this script (PostgreSQL 17 and later; earlier versions let only `postgres` replicate).
-- Afterwards set a password in psql, so that no file and no log holds the password: \password {{role}}
--
-- REPLICATION  to create the slot, export its snapshot and stream. A role with REPLICATION may read the changes of
--              every table of every database of this server, whatever the grants below say. PostgreSQL knows no
--              REPLICATION for single tables: keep the password as a superuser's, and let pg_hba.conf admit the role
--              from leadbridge's machine alone. `leadbridge finish` takes REPLICATION away or shows the SQL.
-- BYPASSRLS    because row-level security would silently hide rows from the copy. leadbridge reads with
--              `row_security = off`, under which even an all-allowing policy is an error. BYPASSRLS opens no table
--              beyond the grants below.
{{make_role}}
GRANT USAGE ON SCHEMA {{landing}} TO {{role}};
GRANT SELECT ON {{published}} TO {{role}};
-- Where notifications are not replicated: to count the pending ones, of which doctor and a cutover's dry run tell.
DO $notifications$
BEGIN
    IF to_regclass('{{landing}}.scheduled_notifications') IS NOT NULL THEN
        GRANT SELECT (status) ON {{landing}}.scheduled_notifications TO {{role}};
    END IF;
END
$notifications$;

-- For the cutover: to close and lift the fence. This role may write to the tables only while the fence is closed:
-- close_fence() grants the right, lift_fence() revokes the right.
GRANT USAGE ON SCHEMA {{schema}} TO {{role}};
GRANT SELECT ON {{schema}}.fence, {{schema}}.installation TO {{role}};
GRANT EXECUTE ON FUNCTION {{schema}}.fenced_tables(boolean),
    {{schema}}.close_fence(uuid, text, interval, boolean), {{schema}}.keep_fence(uuid),
    {{schema}}.expire_fence(uuid, interval), {{schema}}.fence_damage(uuid), {{schema}}.hold_fence(uuid, boolean),
    {{schema}}.lift_fence(uuid), {{schema}}.remove_lifted_fence(uuid) TO {{role}};
-- For reverse replication: which keys have changed on Landing.
GRANT SELECT, INSERT, UPDATE, DELETE ON {{schema}}.changed_keys, {{schema}}.held_keys TO {{role}};
-- The functions serve the roles that are named here, and migrate takes the rights of every other role in the schema away.
GRANT SELECT ON {{schema}}.served, {{schema}}.shape TO {{role}};
INSERT INTO {{schema}}.served (role) VALUES ({{role_name}}) ON CONFLICT DO NOTHING;
{{referring}}
DO $parameter$
BEGIN
    GRANT SET ON PARAMETER session_replication_role TO {{role}};
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'session_replication_role could not be granted: Landing''s triggers would fire for rows of reverse replication';
END
$parameter$;

-- Not granted on purpose: the publication. Its owner is the role that runs sql/landing/publication.sql, owns the tables
-- and may create objects in the database. The daemon only reads the publication.
