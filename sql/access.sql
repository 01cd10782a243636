-- Facts of one side's catalog about who may read and write the replicated tables, as one JSON document
-- (`access::facts`).
-- $1: the tables' names, quoted and with their schema. A view names a table by the position in that list.
-- $2: the API's roles. $3: leadbridge's schema, or null where that schema holds no rows of people.
-- $4: functions, of which those that exist are returned.
WITH RECURSIVE wanted AS (
    SELECT w.position::int - 1 AS position, c.oid, c.relnamespace, c.relowner, c.relrowsecurity, c.relforcerowsecurity
    FROM unnest($1::text[]) WITH ORDINALITY AS w (name, position)
    JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(w.name)
),
roles AS (
    SELECT r.oid, r.rolname::text AS name, r.rolsuper OR r.rolbypassrls AS bypasses
    FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY ($2::text[])
),
own AS (
    SELECT c.oid FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $3::text AND c.relkind IN ('r', 'p', 'v', 'm')
),
views AS (
    SELECT c.oid, c.relkind = 'm' AS is_stored, EXISTS (
        SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) AS o
        WHERE o.option_name = 'security_invoker' AND o.option_value::boolean
    ) AS is_invoker
    FROM pg_catalog.pg_class AS c WHERE c.relkind IN ('v', 'm')
),
reads AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
    FROM pg_catalog.pg_rewrite AS r
    JOIN views AS v ON v.oid = r.ev_class
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class
),
-- Relations whose rows a view shows with its owner's rights. Below a view with security_invoker PostgreSQL checks the
-- rights of the role that asks, whatever view is above. A materialized view shows what its owner has read.
shown (root, relation, is_stored) AS (
    SELECT v.oid, v.oid, v.is_stored FROM views AS v WHERE v.is_stored OR NOT v.is_invoker
    UNION
    SELECT s.root, r.relation, s.is_stored OR coalesce(v.is_stored, false)
    FROM shown AS s
    JOIN reads AS r ON r.view = s.relation
    LEFT JOIN views AS v ON v.oid = r.relation
    WHERE v.oid IS NULL OR s.is_stored OR v.is_stored OR NOT v.is_invoker
),
exposing AS (
    SELECT s.root AS oid, array_agg(DISTINCT w.position) FILTER (WHERE w.oid IS NOT NULL) AS tables,
           bool_or(o.oid IS NOT NULL) AS reads_own
    FROM shown AS s
    LEFT JOIN wanted AS w ON w.oid = s.relation
    LEFT JOIN own AS o ON o.oid = s.relation
    WHERE s.relation <> s.root AND s.root NOT IN (SELECT oid FROM own)
    GROUP BY s.root HAVING count(w.oid) > 0 OR bool_or(o.oid IS NOT NULL)
),
objects AS (
    SELECT oid FROM wanted UNION SELECT oid FROM own UNION SELECT oid FROM exposing
),
-- Who has given a role its privilege: the role itself, PUBLIC, or a role that the role is a member of.
acl AS (
    SELECT o.oid AS relation, e.grantee, e.privilege_type
    FROM objects AS o JOIN pg_catalog.pg_class AS c ON c.oid = o.oid
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS e
    UNION
    SELECT o.oid, e.grantee, e.privilege_type
    FROM objects AS o JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.oid AND NOT a.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS e
),
grants AS (
    SELECT o.oid AS relation, r.name AS role, g.command, g.is_whole,
           CASE WHEN NOT g.is_whole THEN g.columns END AS columns,
           ARRAY(SELECT coalesce(grantee.rolname::text, 'PUBLIC') FROM acl AS a
                 LEFT JOIN pg_catalog.pg_roles AS grantee ON grantee.oid = a.grantee
                 WHERE a.relation = o.oid AND a.privilege_type = g.command
                     AND (a.grantee = 0 OR a.grantee = r.oid OR pg_catalog.pg_has_role(r.oid, a.grantee, 'USAGE'))
                 ORDER BY 1) AS through
    FROM objects AS o
    JOIN pg_catalog.pg_class AS c ON c.oid = o.oid
    CROSS JOIN roles AS r
    CROSS JOIN (VALUES ('SELECT', 0), ('INSERT', 8), ('UPDATE', 4), ('DELETE', 16)) AS p (command, updatable)
    CROSS JOIN LATERAL (
        SELECT p.command, pg_catalog.has_table_privilege(r.oid, o.oid, p.command) AS is_whole,
               ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
                     WHERE a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped AND p.command <> 'DELETE'
                         AND pg_catalog.has_column_privilege(r.oid, o.oid, a.attnum,
                             CASE WHEN p.command = 'DELETE' THEN 'SELECT' ELSE p.command END)
                     ORDER BY a.attnum) AS columns
    ) AS g
    WHERE (g.is_whole OR g.columns <> '{}')
        AND pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE')
        AND (c.relkind <> 'v' OR p.updatable = 0
             OR pg_catalog.pg_relation_is_updatable(o.oid, true) & p.updatable = p.updatable)
        AND (c.relkind <> 'm' OR p.updatable = 0)
),
granted AS (
    SELECT g.relation, pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('role', g.role, 'command', g.command,
        'columns', g.columns, 'through', g.through) ORDER BY g.role, g.command) AS list
    FROM grants AS g GROUP BY g.relation
),
named AS (
    SELECT o.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, n.nspname::text AS schema,
           c.relname::text AS relation, c.relkind = 'm' AS is_stored
    FROM objects AS o
    JOIN pg_catalog.pg_class AS c ON c.oid = o.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)
SELECT pg_catalog.jsonb_build_object(
    'roles', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', r.name,
        'bypasses', r.bypasses) ORDER BY r.name), '[]') FROM roles AS r),
    'tables', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'position', w.position,
        'row_security', w.relrowsecurity,
        'columns', ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        'owners', ARRAY(SELECT r.name FROM roles AS r
            WHERE NOT w.relforcerowsecurity AND pg_catalog.pg_has_role(r.oid, w.relowner, 'USAGE') ORDER BY 1),
        'grants', coalesce((SELECT g.list FROM granted AS g WHERE g.relation = w.oid), '[]'),
        -- Roles beside the API's that row-level security would cut off.
        'others', ARRAY(SELECT DISTINCT g.rolname::text FROM acl AS a
            JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
            WHERE a.relation = w.oid AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
                AND NOT g.rolsuper AND NOT g.rolbypassrls
                AND (w.relforcerowsecurity OR NOT pg_catalog.pg_has_role(g.oid, w.relowner, 'USAGE'))
                AND g.oid NOT IN (SELECT r.oid FROM roles AS r)
                AND NOT EXISTS (SELECT FROM roles AS r WHERE pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE'))
            ORDER BY 1),
        'policies', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', p.polname,
            'is_permissive', p.polpermissive,
            'command', p.polcmd,
            'roles', ARRAY(SELECT r.name FROM roles AS r
                WHERE p.polroles && ARRAY[0::oid, r.oid] OR EXISTS (SELECT FROM unnest(p.polroles) AS granted (role)
                    WHERE granted.role <> 0 AND pg_catalog.pg_has_role(r.oid, granted.role, 'USAGE')) ORDER BY 1),
            'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
            'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
            'columns', ARRAY(SELECT a.attname::text FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = p.polrelid
                    AND d.refobjsubid > 0 ORDER BY 1),
            'functions', ARRAY(SELECT pg_catalog.format('%I.%I(%s)', n.nspname, f.proname,
                    pg_catalog.oidvectortypes(f.proargtypes)) FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_proc AS f ON f.oid = d.refobjid
                JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
                WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
                    AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass ORDER BY 1),
            -- Other tables, types, operators.
            'others', ARRAY(SELECT DISTINCT pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
                FROM pg_catalog.pg_depend AS d
                WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
                    AND d.refclassid <> 'pg_catalog.pg_proc'::pg_catalog.regclass
                    AND NOT (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = p.polrelid)
                ORDER BY 1)
            ) ORDER BY p.polname), '[]') FROM pg_catalog.pg_policy AS p WHERE p.polrelid = w.oid)
        ) ORDER BY w.position), '[]') FROM wanted AS w),
    'views', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', o.name, 'schema', o.schema, 'relation', o.relation, 'is_stored', o.is_stored,
        'tables', coalesce(e.tables, '{}'), 'reads_own', e.reads_own,
        'grants', g.list) ORDER BY o.name), '[]')
        FROM exposing AS e JOIN named AS o ON o.oid = e.oid JOIN granted AS g ON g.relation = e.oid),
    'own', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', o.name, 'schema', o.schema, 'relation', o.relation, 'grants', g.list) ORDER BY o.name), '[]')
        FROM own JOIN named AS o ON o.oid = own.oid JOIN granted AS g ON g.relation = own.oid),
    -- Functions of leadbridge that run with their owner's rights.
    'functions', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', pg_catalog.format('%I.%I(%s)', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)),
        'is_own', n.nspname = $3::text, 'roles', callers.roles) ORDER BY f.oid::pg_catalog.regprocedure::text), '[]')
        FROM pg_catalog.pg_proc AS f JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT r.name FROM roles AS r
            WHERE pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE')
                AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE') ORDER BY 1) AS roles) AS callers
        WHERE f.prosecdef AND callers.roles <> '{}' AND $3::text IS NOT NULL
            AND f.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
            AND (n.nspname = $3::text OR (n.oid IN (SELECT w.relnamespace FROM wanted AS w)
                AND f.proname IN ('normalize_phone', 'find_or_create_unified_lead')))),
    'known_functions', ARRAY(SELECT known FROM unnest($4::text[]) AS known
        WHERE pg_catalog.to_regprocedure(known) IS NOT NULL
            -- A policy's functions run with the rights of whoever reads or writes.
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS caller
                WHERE caller.rolname = ANY ($2::text[]) AND NOT caller.rolbypassrls
                    AND NOT pg_catalog.has_function_privilege(caller.oid, pg_catalog.to_regprocedure(known), 'EXECUTE'))
        ORDER BY 1)
)::text
