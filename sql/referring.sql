-- A key that changes on one side changes in the other side's referring rows too. The catalog names every table with a
-- foreign key to a replicated id, directly or through a chain. The role may read and write only the referring columns
-- there.
DO $children$
DECLARE
    child record;
    replicated oid[] := array_remove(ARRAY[
        to_regclass({{fenced_leads}}), to_regclass({{fenced_journeys}}),
        to_regclass({{fenced_notifications}})]::oid[], NULL);
BEGIN
    FOR child IN
        WITH RECURSIVE moved (relation, attribute) AS (
            SELECT a.attrelid, a.attnum FROM pg_catalog.pg_attribute AS a
            WHERE a.attname = 'id' AND NOT a.attisdropped AND a.attrelid = ANY (replicated)
            UNION
            SELECT c.conrelid, c.conkey[1] FROM moved AS m
            JOIN pg_catalog.pg_constraint AS c ON c.contype = 'f' AND c.conparentid = 0
                AND c.confrelid = m.relation AND c.confkey = ARRAY[m.attribute]
        )
        SELECT m.relation::regclass AS relation, string_agg(quote_ident(a.attname), ', ') AS columns
        FROM moved AS m
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = m.relation AND a.attnum = m.attribute
        WHERE m.relation <> ALL (replicated)
        GROUP BY m.relation
    LOOP
        EXECUTE format('GRANT SELECT (%1$s), UPDATE (%1$s) ON %2$s TO {{role}}',
                       child.columns, child.relation);
    END LOOP;
END
$children$;

-- The server checks EXECUTE on the functions of an index, a constraint, a default or a generated column as the role that
-- writes the row. These functions are the school's: PostgreSQL's own are open to every role.
DO $written$
DECLARE
    called text;
BEGIN
    FOR called IN
        WITH written AS (
            SELECT DISTINCT t::oid AS oid FROM unnest(ARRAY[
                to_regclass({{fenced_leads}}), to_regclass({{fenced_journeys}}), to_regclass({{fenced_notifications}})]) AS t
            WHERE t IS NOT NULL
        ), parts AS (
            SELECT 'pg_catalog.pg_class'::regclass AS class, i.indexrelid AS oid
            FROM pg_catalog.pg_index AS i JOIN written AS w ON w.oid = i.indrelid
            UNION ALL
            SELECT 'pg_catalog.pg_constraint'::regclass, c.oid FROM pg_catalog.pg_constraint AS c JOIN written AS w ON w.oid = c.conrelid
            UNION ALL
            SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid FROM pg_catalog.pg_attrdef AS d JOIN written AS w ON w.oid = d.adrelid
        )
        SELECT DISTINCT p.oid::regprocedure::text
        FROM parts JOIN pg_catalog.pg_depend AS d ON d.classid = parts.class AND d.objid = parts.oid
            AND d.refclassid = 'pg_catalog.pg_proc'::regclass
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.refobjid
    LOOP
        BEGIN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {{role}}', called);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'its owner grants: GRANT EXECUTE ON FUNCTION % TO {{role}}', called;
        END;
    END LOOP;
END
$written$;
