-- The role. This script only adds: a role that exists keeps its attributes, memberships and settings. A role that lacks an
-- attribute, and that leadbridge has not made, is refused, because another application may use the role.
DO $role$
DECLARE
    mark constant text := {{role_mark}};
    wanted constant text[] := ARRAY[{{attributes}}];
    present record;
    lacks text;
    beyond text;
BEGIN
    SELECT r.*, ARRAY_REMOVE(ARRAY[
               CASE WHEN r.rolcanlogin THEN 'LOGIN' END,
               CASE WHEN r.rolreplication OR r.rolsuper THEN 'REPLICATION' END,
               CASE WHEN r.rolbypassrls OR r.rolsuper THEN 'BYPASSRLS' END], NULL) AS has,
           pg_catalog.shobj_description(r.oid, 'pg_authid') IS NOT DISTINCT FROM mark AS is_ours
    INTO present FROM pg_catalog.pg_roles AS r WHERE r.rolname = {{role_name}};
    IF NOT FOUND THEN
        EXECUTE format('CREATE ROLE {{role}} %s', array_to_string(wanted, ' '));
        EXECUTE format('COMMENT ON ROLE {{role}} IS %L', mark);
        -- A role's statement timeout would end the copy, an idle timeout the session that holds the snapshot.
        ALTER ROLE {{role}} SET statement_timeout = 0;
        ALTER ROLE {{role}} SET idle_in_transaction_session_timeout = 0;
        RETURN;
    END IF;
    SELECT string_agg(a, ' ') INTO lacks FROM unnest(wanted) AS a WHERE a <> ALL (present.has);
    IF lacks IS NOT NULL AND NOT present.is_ours THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the role %I exists, leadbridge has not made the role, and the role lacks %s', {{role_name}}, lacks),
            HINT = format('Choose another name with --role. Or, if whoever uses the role may have that: ALTER ROLE %I %s; '
                          'then run this script again.', {{role_name}}, lacks);
    ELSIF lacks IS NOT NULL THEN
        EXECUTE format('ALTER ROLE {{role}} %s', lacks);
    END IF;
    beyond := concat_ws(', ',
        CASE WHEN present.rolsuper THEN 'SUPERUSER' END, CASE WHEN present.rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN present.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN present.rolreplication AND NOT 'REPLICATION' = ANY (wanted) THEN 'REPLICATION' END,
        (SELECT 'membership in ' || string_agg(format('%I', pg_catalog.pg_get_userbyid(m.roleid)), ', ' ORDER BY m.roleid)
         FROM pg_catalog.pg_auth_members AS m WHERE m.member = present.oid));
    IF beyond <> '' THEN
        RAISE NOTICE 'the role % has, and keeps, more than this side needs: %', {{role_name}}, beyond;
    END IF;
END
$role$;

-- What every role has through PUBLIC, as long as nobody has revoked that: CONNECT is granted in any case. The fence is
-- proved with a block of PL/pgSQL.
DO $public$
DECLARE
    needed text;
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {{role}}', pg_catalog.current_database());
    IF NOT pg_catalog.has_language_privilege({{role_name}}, 'plpgsql', 'USAGE') THEN
        GRANT USAGE ON LANGUAGE plpgsql TO {{role}};
    END IF;
    FOR needed IN
        SELECT p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname IN (
                'pg_control_system', 'pg_create_logical_replication_slot', 'pg_drop_replication_slot',
                'pg_replication_slot_advance', 'pg_logical_slot_peek_binary_changes', 'pg_logical_emit_message',
                'pg_current_wal_lsn', 'pg_current_wal_insert_lsn', 'pg_current_wal_flush_lsn', 'pg_wal_lsn_diff',
                'pg_walfile_name', 'pg_is_in_recovery', 'pg_notify', 'pg_advisory_lock', 'pg_advisory_xact_lock',
                'pg_try_advisory_lock', 'pg_try_advisory_xact_lock', 'pg_advisory_unlock', 'pg_terminate_backend',
                'pg_stat_get_activity', 'pg_relation_size')
            AND NOT pg_catalog.has_function_privilege({{role_name}}, p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {{role}}', needed);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'grant the role % by hand, as the owner of the database and as a superuser: %', {{role_name}}, SQLERRM;
END
$public$;

-- Without this, the server's log gets each refused row whole (DETAIL: Failing row contains ...). Needs a superuser. A
-- setting of the role's own stays.
DO $log$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_db_role_setting AS s JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
        CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
        WHERE r.rolname = {{role_name}} AND c.setting LIKE 'log_error_verbosity=%'
    ) THEN
        ALTER ROLE {{role}} SET log_error_verbosity = 'terse';
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'log_error_verbosity could not be set: the server''s log gets the rows that it refuses to this role';
END
$log$;
