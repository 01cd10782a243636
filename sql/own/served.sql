-- Whom leadbridge's functions serve. A function that runs with its owner's rights asks admit_caller(), so that a grant
-- that slips in, by a default of the platform or by hand, gives nobody anything.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate'));
-- The query reads the catalog, because a wait for an advisory lock does not refresh the session's catalog cache. A trial
-- of this SQL makes its objects in pg_temp, which is there.
DO $schema$
BEGIN
    IF {{schema_name}} <> 'pg_temp'
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {{schema_name}}) THEN
        CREATE SCHEMA {{schema}};
    END IF;
END
$schema$;

DO $served$
BEGIN
    IF to_regclass('{{schema}}.served') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TABLE {{schema}}.served (
        role name PRIMARY KEY,
        named_at timestamptz NOT NULL DEFAULT now()
    );
    -- An installation from before this table: the daemon's role logs in and bypasses row-level security, which only an
    -- administrator can give, and has been given the fence. The platform's defaults give the fence to roles that cannot
    -- log in.
    INSERT INTO {{schema}}.served (role)
    SELECT DISTINCT r.rolname FROM pg_catalog.pg_proc AS p
    CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) AS a
    JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
    WHERE p.pronamespace = to_regnamespace('{{schema}}') AND p.proname = 'close_fence'
        AND a.privilege_type = 'EXECUTE' AND a.grantee <> p.proowner AND r.rolcanlogin AND r.rolbypassrls;
END
$served$;
COMMENT ON TABLE {{schema}}.served IS
    'the roles of leadbridge''s daemon, as the schema''s owner has named them: every right of another role is revoked here';

-- The form of the schema's objects as `leadbridge migrate` has made and checked them. Each start compares the hash of all
-- rows, which the comment on the schema holds, with the catalog; the rows name what has changed.
CREATE TABLE IF NOT EXISTS {{schema}}.shape (
    object text PRIMARY KEY,
    definition text NOT NULL
);
COMMENT ON COLUMN {{schema}}.shape.definition IS 'hash of the object''s definition';

-- Refuses a caller whom the owner has not named: the session's user, and the role that the session has taken. Within a
-- function with its owner's rights, `current_user` is that owner.
CREATE OR REPLACE FUNCTION {{schema}}.admit_caller() RETURNS void
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    stranger name;
BEGIN
    SELECT c.role INTO stranger
    FROM unnest(ARRAY[session_user, nullif(current_setting('role'), 'none')::name]) AS c (role)
    WHERE NOT pg_has_role(c.role, current_user, 'USAGE')
        AND NOT EXISTS (SELECT FROM {{schema}}.served AS s WHERE s.role = c.role)
    LIMIT 1;
    IF FOUND THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('this function serves leadbridge alone, not the role %I', stranger),
            HINT = 'The owner of the schema names the role of leadbridge with the SQL of: leadbridge migrate --print --role ROLE';
    END IF;
END
$function$;

-- The named roles may read both tables, also where they had been given their rights before the tables existed.
DO $named$
DECLARE
    named name;
BEGIN
    FOR named IN SELECT s.role FROM {{schema}}.served AS s JOIN pg_catalog.pg_roles AS r ON r.rolname = s.role
    LOOP
        EXECUTE format('GRANT SELECT ON {{schema}}.served, {{schema}}.shape TO %I', named);
    END LOOP;
END
$named$;
