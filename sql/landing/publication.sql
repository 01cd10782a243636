-- The publication on Landing: the wanted tables, every operation, nothing else. Does not block writers.
-- Creates the publication, or adds missing tables and operations; removes nothing.
DO $publication$
DECLARE
    wanted regclass;
BEGIN
    -- The owner's own plan must not depend on row-level security that is forced on the owner.
    PERFORM pg_catalog.set_config('row_security', 'on', true);
    -- Simultaneous runs follow one another, so that the second run finds the publication of the first.
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate'));
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {{publication_name}}) THEN
        CREATE PUBLICATION {{publication}};
    END IF;
    -- Only where an operation is missing, because the daemon notices every ALTER PUBLICATION.
    IF EXISTS (
        SELECT FROM pg_catalog.pg_publication WHERE pubname = {{publication_name}}
            AND NOT (pubinsert AND pubupdate AND pubdelete AND pubtruncate)
    ) THEN
        ALTER PUBLICATION {{publication}} SET (publish = 'insert, update, delete, truncate');
    END IF;
    FOREACH wanted IN ARRAY ARRAY[{{published}}]::regclass[]
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_catalog.pg_publication_rel AS r
            JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
            WHERE p.pubname = {{publication_name}} AND r.prrelid = wanted
        );
        EXECUTE format('ALTER PUBLICATION {{publication}} ADD TABLE %s', wanted);
        -- The plan of a DELETE fails where the published table's writers would fail. Then nothing is published.
        EXECUTE format('EXPLAIN DELETE FROM %s', wanted);
    END LOOP;
END
$publication$;
