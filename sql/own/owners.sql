-- The objects of leadbridge's schema whose owner is none of the roles in `trusted`, and the schema itself.
-- $1: the schema's name. PostgreSQL records no owner that is the superuser of initdb.
WITH {{trusted}},
objects AS (
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass AS class, n.oid AS object FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname = $1
    UNION ALL
    SELECT d.classid, d.objid FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
    WHERE n.nspname = $1
)
SELECT pg_catalog.format('%s (owner %s)', pg_catalog.pg_describe_object(o.class, o.object, 0),
                         pg_catalog.pg_get_userbyid(s.refobjid))
FROM objects AS o
JOIN pg_catalog.pg_shdepend AS s ON s.classid = o.class AND s.objid = o.object AND s.objsubid = 0 AND s.deptype = 'o'
    AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
WHERE s.refobjid NOT IN (SELECT t.oid FROM trusted AS t)
ORDER BY 1
