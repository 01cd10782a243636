-- Indexes that a snapshot leaves out while it fills an empty table, and makes when the rows are there: fifteen indexes
-- kept up for each row take longer than fifteen made at once. What is left out is written down in the transaction that
-- drops it, and forgotten in the one that makes it again: whatever ends in between, nothing is lost but time.
CREATE TABLE IF NOT EXISTS {{schema}}.deferred_indexes (
    schema_name name NOT NULL,
    index_name name NOT NULL,
    table_name name NOT NULL,
    definition text NOT NULL,
    deferred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schema_name, index_name)
);
COMMENT ON TABLE {{schema}}.deferred_indexes IS
    'indexes that are missing until a snapshot is complete; make_deferred_index() makes one of them';

-- Drops what only makes reading faster, and cannot refuse a row: no key, nothing unique, no expression or condition,
-- which may fail for a value, and no text of any length but one that the daemon looks at before it sends it (not one
-- that it finds in a document). Nothing that somebody has given a comment, a place or statistics of its own, or that
-- anything depends on. Answers the names. None where the table holds a row, where it is not one of ours, or where the
-- owner of this function may not drop them. The caller's lock_timeout bounds how long a reader may have to wait behind
-- this.
CREATE OR REPLACE FUNCTION {{schema}}.defer_indexes(target regclass) RETURNS SETOF name
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET row_security = off
    AS $function$
DECLARE
    index record;
    inhabited boolean;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_class AS t
        WHERE t.oid = target AND t.relkind = 'r' AND NOT t.relispartition AND pg_has_role(t.relowner, 'USAGE')
            AND t.oid IN (to_regclass('{{traffic}}.traffic_leads'), to_regclass('{{traffic}}.traffic_lead_journey'),
                          to_regclass('{{traffic}}.traffic_scheduled_notifications'))
    ) THEN
        RETURN;
    END IF;
    -- Before the lock, which nobody should have to wait for in vain.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', target) INTO inhabited;
    IF inhabited THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', target) INTO inhabited;
    IF inhabited THEN
        RETURN;
    END IF;
    FOR index IN
        SELECT n.nspname AS schema, c.relname AS name, t.relname AS table, pg_get_indexdef(c.oid) AS definition
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_class AS t ON t.oid = i.indrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE i.indrelid = target AND c.relkind = 'i' AND c.reltablespace = 0
            AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident OR i.indisclustered)
            AND i.indisvalid AND i.indisready
            AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
            AND i.indexprs IS NULL AND i.indpred IS NULL AND i.indnatts = i.indnkeyatts
            -- PostgreSQL's own operators.
            AND NOT EXISTS (SELECT FROM unnest(i.indclass::oid[]) AS class WHERE class >= 16384)
            -- An entry has room for one text of 2000 bytes beside numbers and times.
            AND NOT EXISTS (
                SELECT FROM pg_attribute AS a
                WHERE a.attrelid = target AND a.attnum = ANY (i.indkey)
                    AND a.atttypid NOT IN ('uuid'::regtype, 'timestamptz'::regtype, 'boolean'::regtype,
                                           'integer'::regtype, 'bigint'::regtype)
                    AND NOT (a.atttypid = 'varchar'::regtype AND a.atttypmod BETWEEN 4 AND 504)
                    AND NOT (a.atttypid IN ('text'::regtype, 'varchar'::regtype) AND a.atttypmod = -1
                             AND a.attname NOT LIKE 'utm\_%' AND a.attname NOT LIKE 'fb\_%'))
            AND (SELECT count(*) FROM pg_attribute AS a
                 WHERE a.attrelid = target AND a.attnum = ANY (i.indkey)
                    AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)) <= 1
            AND obj_description(c.oid, 'pg_class') IS NULL
            AND NOT EXISTS (
                SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND coalesce(a.attstattarget, -1) >= 0)
            AND NOT EXISTS (
                SELECT FROM pg_depend AS d
                WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
                    OR (d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'x')))
        ORDER BY c.relname
    LOOP
        INSERT INTO {{schema}}.deferred_indexes (schema_name, index_name, table_name, definition)
        VALUES (index.schema, index.name, index.table, index.definition)
        -- Somebody has made it by hand since: as it is now counts.
        ON CONFLICT (schema_name, index_name) DO UPDATE
            SET table_name = excluded.table_name, definition = excluded.definition, deferred_at = clock_timestamp();
        EXECUTE format('DROP INDEX %I.%I', index.schema, index.name);
        RETURN NEXT index.name;
    END LOOP;
END
$function$;

-- Makes one that nobody else is making, and answers its name; null when none is left. Writers to its table wait
-- meanwhile. The caller's lock_timeout bounds how long they may have to wait before it begins. One that somebody has
-- made by hand, or whose table is gone, is forgotten.
CREATE OR REPLACE FUNCTION {{schema}}.make_deferred_index() RETURNS name
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    wanted record;
    target regclass;
BEGIN
    SELECT * INTO wanted FROM {{schema}}.deferred_indexes
    ORDER BY table_name, index_name LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    target := to_regclass(format('%I.%I', wanted.schema_name, wanted.table_name));
    IF target IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = target
            AND i.indexrelid = to_regclass(format('%I.%I', wanted.schema_name, wanted.index_name))
    ) THEN
        EXECUTE wanted.definition;
    END IF;
    DELETE FROM {{schema}}.deferred_indexes
    WHERE schema_name = wanted.schema_name AND index_name = wanted.index_name;
    RETURN wanted.index_name;
END
$function$;

REVOKE ALL ON FUNCTION {{schema}}.defer_indexes(regclass), {{schema}}.make_deferred_index() FROM PUBLIC;
REVOKE ALL ON {{schema}}.deferred_indexes FROM PUBLIC;
