-- Rights of the API's roles on the objects that leadbridge has created in Traffic's schema, whatever the default
-- privileges are: the platform granted everything on a new object until 2026-10-30, and grants nothing since. An object
-- gets its rights once, after its creation; what the owner grants or revokes later stays. A table that is dropped and made
-- again gets its rights again. A view or function that a migration makes again does not, because the migration carries
-- the grants over.
--
-- `leadbridge migrate` sets leadbridge.landing_grants to the grants on Landing's tables. Where the setting is missing,
-- anon and authenticated get nothing: `leadbridge migrate --api-access` gives what Landing gives.
DO $grants$
DECLARE
    landing jsonb := nullif(current_setting('leadbridge.landing_grants', true), '')::jsonb;
    present text[] := ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles AS r
                            WHERE r.rolname IN ('anon', 'authenticated', 'service_role'));
    made record;
    role text;
    given record;
BEGIN
    FOR made IN
        SELECT o.name, t.kind, t.target, t.oid
        FROM {{schema}}.api_objects AS o
        CROSS JOIN LATERAL (
            SELECT 'TABLE' AS kind, format('{{traffic}}.%I', c.relname) AS target, c.oid,
                   c.relkind = 'r' AS is_table
            FROM pg_catalog.pg_class AS c
            WHERE c.relname = o.name AND c.relnamespace = to_regnamespace('{{traffic}}') AND c.relkind IN ('r', 'v')
            UNION ALL
            SELECT 'FUNCTION', p.oid::pg_catalog.regprocedure::text, p.oid, false
            FROM pg_catalog.pg_proc AS p
            WHERE p.proname = o.name AND p.pronamespace = to_regnamespace('{{traffic}}')
        ) AS t
        WHERE o.is_ours AND t.oid <> ALL (o.granted) AND (o.granted = '{}' OR t.is_table)
        ORDER BY o.name, t.oid
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC', made.kind, made.target);
        FOREACH role IN ARRAY present LOOP
            EXECUTE format('REVOKE ALL ON %s %s FROM %I', made.kind, made.target, role);
        END LOOP;
        IF 'service_role' = ANY (present) THEN
            EXECUTE format('GRANT ALL ON %s %s TO service_role', made.kind, made.target);
        END IF;
        -- The function shows no row, and statements of any application may call the function. Nothing that leadbridge makes
        -- needs the right.
        IF made.name = 'normalize_phone' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', made.target);
        END IF;
        FOR given IN SELECT g.role, g.privileges FROM jsonb_to_recordset(landing -> made.name) AS g (role text, privileges text)
        LOOP
            CONTINUE WHEN given.role <> ALL (present);
            EXECUTE format('GRANT %s ON TABLE %s TO %I', given.privileges, made.target, given.role);
        END LOOP;
        UPDATE {{schema}}.api_objects AS o SET granted = o.granted || made.oid WHERE o.name = made.name;
    END LOOP;
END
$grants$;
