-- Indexes that a snapshot leaves out while filling an empty table, and makes when the table is full: maintaining fifteen
-- indexes for each row takes longer than making fifteen indexes on a full table. The transaction that drops an index
-- records the index, and the transaction that makes the index deletes the record: a crash in between costs only time.
CREATE TABLE IF NOT EXISTS {{schema}}.deferred_indexes (
    schema_name name NOT NULL,
    index_name name NOT NULL,
    table_name name NOT NULL,
    definition text NOT NULL,
    deferred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schema_name, index_name)
);
COMMENT ON TABLE {{schema}}.deferred_indexes IS
    'indexes that are missing until a snapshot is complete; make_deferred_index() makes the next index';

-- Drops the indexes that only make reading faster and cannot refuse a row, and returns their names. The following stay:
-- keys and unique indexes; expressions and conditions, because both may fail for a value; texts without a limit, except
-- columns whose lengths the daemon checks before sending (the daemon does not check texts that come out of a document);
-- indexes with a comment, a tablespace or statistics of their own; indexes on which another object depends.
-- Returns no name when the table holds a row or is not replicated, or when this function's owner may not drop the
-- indexes. The caller's lock_timeout bounds how long a reader waits behind the lock request.
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
    PERFORM {{schema}}.admit_caller();
    IF NOT EXISTS (
        SELECT FROM pg_class AS t
        WHERE t.oid = target AND t.relkind = 'r' AND NOT t.relispartition AND pg_has_role(t.relowner, 'USAGE')
            AND t.oid IN (to_regclass('{{traffic}}.traffic_leads'), to_regclass('{{traffic}}.traffic_lead_journey'),
                          to_regclass('{{traffic}}.traffic_scheduled_notifications'))
    ) THEN
        RETURN;
    END IF;
    -- This check comes before the lock, because a lock on a table with rows would make others wait for nothing.
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
            -- An index entry has room for one text of 2000 bytes beside numbers and times.
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
        -- A recorded index that was made by hand since: the present definition counts.
        ON CONFLICT (schema_name, index_name) DO UPDATE
            SET table_name = excluded.table_name, definition = excluded.definition, deferred_at = clock_timestamp();
        EXECUTE format('DROP INDEX %I.%I', index.schema, index.name);
        RETURN NEXT index.name;
    END LOOP;
END
$function$;

-- Makes an index that no other session is making, and returns the index's name; null when no index is left. Writers to
-- the index's table wait meanwhile; the caller's lock_timeout bounds how long writers wait before the work begins. The
-- record of an index that was made by hand, or whose table is gone, is deleted.
CREATE OR REPLACE FUNCTION {{schema}}.make_deferred_index() RETURNS name
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    wanted record;
    target regclass;
BEGIN
    PERFORM {{schema}}.admit_caller();
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
