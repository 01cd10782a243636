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
