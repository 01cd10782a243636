-- The rights of others in leadbridge's schema: of every grantee but an object's owner, the schema's owner and the roles
-- that leadbridge serves. A row for each object and grantee, with the statement that takes the rights away.
-- {{schema_name}}: the schema's name. {{served}}: the served roles, as an array of names.
SELECT pg_catalog.format('%s has %s on %s %s', g.grantee, pg_catalog.string_agg(DISTINCT g.privilege, ', ' ORDER BY g.privilege),
                         pg_catalog.lower(g.kind), g.name) AS what,
       CASE WHEN g.defaults IS NULL
           THEN pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', g.kind, g.name, g.grantee)
           ELSE pg_catalog.format('%s REVOKE ALL ON %s FROM %s', g.name, g.defaults, g.grantee) END AS statement
FROM (
    SELECT o.kind, o.name, o.defaults, a.privilege_type AS privilege,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END AS grantee
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL (
        SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(n.nspname) AS name, NULL AS defaults, n.nspowner AS owner,
               coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)) AS acl
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, pg_catalog.format('%I.%I', n.nspname, c.relname), NULL,
               c.relowner, coalesce(c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
        FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        -- REVOKE on a table takes the rights on its columns too.
        SELECT 'TABLE', pg_catalog.format('%I.%I', n.nspname, c.relname), NULL, c.relowner, t.attacl
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid
        WHERE c.relnamespace = n.oid AND t.attacl IS NOT NULL AND NOT t.attisdropped
        UNION ALL
        SELECT 'ROUTINE', pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
               NULL, p.proowner, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
        FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = n.oid
        UNION ALL
        -- The row type of a table and the type of an array have no rights of their own.
        SELECT 'TYPE', pg_catalog.format('%I.%I', n.nspname, t.typname), NULL, t.typowner,
               coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))
        FROM pg_catalog.pg_type AS t
        WHERE t.typnamespace = n.oid AND t.typcategory <> 'A'
            AND (t.typrelid = 0 OR t.typacl IS NOT NULL
                 OR EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
        UNION ALL
        SELECT 'default privileges', pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I', o.rolname, n.nspname),
               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END,
               d.defaclrole, d.defaclacl
        FROM pg_catalog.pg_default_acl AS d JOIN pg_catalog.pg_roles AS o ON o.oid = d.defaclrole
        WHERE d.defaclnamespace = n.oid
    ) AS o
    CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
    WHERE n.nspname = {{schema_name}} AND a.grantee NOT IN (o.owner, n.nspowner)
        AND coalesce(r.rolname::text <> ALL ({{served}}), true)
) AS g
GROUP BY g.kind, g.name, g.defaults, g.grantee
ORDER BY 1
