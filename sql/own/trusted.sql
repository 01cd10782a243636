-- The roles that may own leadbridge's schema, because each of them can do to the replicated tables what it likes without
-- the schema: superusers, the owner of the database, who owns a replicated table or may act as its owner, and the role of
-- this session. $2: the names of the replicated tables.
trusted AS (
    SELECT r.oid FROM pg_catalog.pg_roles AS r
    WHERE r.rolsuper OR r.rolname = session_user
        OR r.oid = (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
        OR EXISTS (SELECT FROM unnest($2::text[]) AS t
                   JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(t)
                   WHERE pg_catalog.pg_has_role(r.oid, c.relowner, 'MEMBER'))
)
