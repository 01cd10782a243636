-- The role that leadbridge uses on Landing, with the least that it needs. For a superuser to run, after
-- `leadbridge migrate` or its script for this database; on Supabase
-- (PostgreSQL 17 and later; before, only `postgres` may replicate) run it as `postgres`.
-- Afterwards set a password in psql, so that it appears in no file and in no log: \password {{role}}
--
-- REPLICATION  to create the slot, export its snapshot and stream.
-- BYPASSRLS    because row-level security would silently hide rows from the copy; leadbridge reads with
--              `row_security = off`, which makes even an all-allowing policy an error. It opens no table that
--              is not granted below.
DO $role$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {{role_name}}) THEN
        CREATE ROLE {{role}} LOGIN;
    END IF;
END
$role$;
ALTER ROLE {{role}} LOGIN REPLICATION BYPASSRLS NOCREATEDB NOCREATEROLE;

-- A role's statement timeout would end the copy, an idle timeout the session that holds the snapshot.
ALTER ROLE {{role}} SET statement_timeout = 0;
ALTER ROLE {{role}} SET idle_in_transaction_session_timeout = 0;

GRANT USAGE ON SCHEMA {{landing}} TO {{role}};
GRANT SELECT ON {{published}} TO {{role}};

-- For the cutover: to close and lift the fence. While it is closed, and only then, this role may write to the
-- tables: closing it grants that, lifting it takes it back.
GRANT USAGE ON SCHEMA {{schema}} TO {{role}};
GRANT SELECT ON {{schema}}.fence, {{schema}}.installation TO {{role}};
GRANT EXECUTE ON FUNCTION {{schema}}.fenced_tables(boolean),
    {{schema}}.close_fence(uuid, text, interval, boolean), {{schema}}.keep_fence(uuid),
    {{schema}}.hold_fence(uuid, boolean), {{schema}}.lift_fence(uuid), {{schema}}.remove_lifted_fence(uuid) TO {{role}};
DO $parameter$
BEGIN
    GRANT SET ON PARAMETER session_replication_role TO {{role}};
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'session_replication_role could not be granted: Landing''s triggers would fire for what flows back';
END
$parameter$;

-- Not granted on purpose: the publication belongs to whoever runs sql/landing/publication.sql, a role that
-- may create in the database and owns the tables. The daemon only reads it.
