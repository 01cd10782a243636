-- The role that leadbridge uses on Traffic, with the least privileges. A superuser (on Supabase: `postgres`) runs this
-- script after the migrations.
-- Afterwards set a password in psql, so that no file and no log holds the password: \password {{role}}
--
-- BYPASSRLS    because row-level security would silently hide rows from the comparison and from updates. BYPASSRLS
--              opens no table beyond the grants below.
-- REPLICATION  is not granted here, because a role with REPLICATION may read the changes of every table of every
--              database of this server, and only reverse replication needs REPLICATION. For the cutover, shortly
--              before `leadbridge cutover --dry-run`, an administrator runs
--                  ALTER ROLE {{role}} REPLICATION;
--              and after a rollback, or when the cutover is put off,
--                  ALTER ROLE {{role}} NOREPLICATION;
--              `leadbridge finish` takes REPLICATION away or shows the SQL. On Supabase `postgres` runs the first
--              statement (PostgreSQL 17 and later); earlier versions let only `postgres` create and read a slot, so
--              there the cutover needs the role `postgres` in TRAFFIC_DATABASE_URL, of daemon and commands.
{{make_role}}
GRANT USAGE ON SCHEMA {{traffic}}, {{schema}} TO {{role}};
GRANT SELECT, INSERT, UPDATE, DELETE ON {{written}} TO {{role}};
GRANT EXECUTE ON FUNCTION {{traffic}}.normalize_phone(text) TO {{role}};

-- Attribution, for reports.
GRANT SELECT ON {{traffic}}.traffic_users, {{traffic}}.traffic_user_utm_sources TO {{role}};

-- The state tables. The role that runs the migrations records them.
GRANT SELECT, INSERT, UPDATE, DELETE
    ON {{schema}}.checkpoint, {{schema}}.quarantine, {{schema}}.conversion_notes,
       {{schema}}.cutover, {{schema}}.left_on_traffic, {{schema}}.markers, {{schema}}.reverse,
       {{schema}}.reverse_quarantine,
       {{schema}}.finish, {{schema}}.installation, {{schema}}.last_error, {{schema}}.import,
       {{schema}}.verification, {{schema}}.verified_range, {{schema}}.interrupted_verify TO {{role}};
GRANT SELECT ON {{schema}}.migrations, {{schema}}.fence, {{schema}}.deferred_indexes, {{schema}}.passthrough,
    {{schema}}.legacy_names, {{schema}}.legacy_rights TO {{role}};

-- For a snapshot into an empty table: the snapshot leaves indexes out, and makes the indexes on the full table.
GRANT EXECUTE ON FUNCTION {{schema}}.defer_indexes(regclass), {{schema}}.make_deferred_index() TO {{role}};

-- For the switch and a rollback: the API roles' rights to write through the legacy names.
GRANT EXECUTE ON FUNCTION {{schema}}.open_legacy_names(), {{schema}}.close_legacy_names() TO {{role}};

-- For a rollback: the fence on Traffic.
GRANT EXECUTE ON FUNCTION {{schema}}.fenced_tables(boolean),
    {{schema}}.close_fence(uuid, text, interval, boolean), {{schema}}.keep_fence(uuid),
    {{schema}}.expire_fence(uuid, interval), {{schema}}.fence_damage(uuid), {{schema}}.hold_fence(uuid, boolean),
    {{schema}}.lift_fence(uuid), {{schema}}.remove_lifted_fence(uuid) TO {{role}};
-- The functions serve the roles that are named here, and migrate takes the rights of every other role in the schema away.
GRANT SELECT ON {{schema}}.served, {{schema}}.shape TO {{role}};
INSERT INTO {{schema}}.served (role) VALUES ({{role_name}}) ON CONFLICT DO NOTHING;
{{referring}}
-- Replicated rows do not fire ordinary triggers, as in PostgreSQL's own apply worker. From PostgreSQL 15 on the
-- parameter can be granted; without the grant, the triggers of migration 018 keep updated_at.
DO $parameter$
BEGIN
    GRANT SET ON PARAMETER session_replication_role TO {{role}};
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'session_replication_role could not be granted: the triggers of migration 018 keep updated_at instead';
END
$parameter$;
