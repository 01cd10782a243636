-- The publication on Landing: the wanted tables, every operation, nothing else. Does not block writers.
-- Creates it, or adds to it what is missing; takes nothing away.
DO $publication$
DECLARE
    wanted regclass;
BEGIN
    -- The owner's own plan must not depend on row-level security that is forced on the owner.
    PERFORM pg_catalog.set_config('row_security', 'on', true);
    -- Two runs at once: one after the other, so that the second finds what the first has made.
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('leadbridge migrate'));
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {{publication_name}}) THEN
        CREATE PUBLICATION {{publication}};
    END IF;
    -- Only where it is needed: the daemon notices whenever its publication is altered.
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
        -- PostgreSQL itself says whether the table's writers could go on: where they could not, nothing is published.
        EXECUTE format('EXPLAIN DELETE FROM %s', wanted);
    END LOOP;
END
$publication$;
