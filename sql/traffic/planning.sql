-- Functions of the session, with which a migration makes each change outside of leadbridge's own schema. With
-- `leadbridge.plan_only = on` a change is only listed; otherwise a change is listed and made. So a dry run and a run
-- decide with the same queries. The lists are settings of the transaction.

CREATE OR REPLACE FUNCTION pg_temp.leadbridge_list(setting text, entry jsonb) RETURNS void
    LANGUAGE sql
    AS $function$
    SELECT set_config(setting, (coalesce(nullif(current_setting(setting, true), ''), '[]')::jsonb || entry)::text, true)
$function$;

CREATE OR REPLACE FUNCTION pg_temp.leadbridge_only_plans() RETURNS boolean
    LANGUAGE sql
    AS $function$ SELECT current_setting('leadbridge.plan_only', true) IS NOT DISTINCT FROM 'on' $function$;

-- Runs statements that belong to a listed change.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_run(statements text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    IF NOT pg_temp.leadbridge_only_plans() THEN
        EXECUTE statements;
    END IF;
END
$function$;

-- Lists a change and makes the change.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_change(what text, statements text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    PERFORM pg_temp.leadbridge_list('leadbridge.changes', to_jsonb(what));
    PERFORM pg_temp.leadbridge_run(statements);
END
$function$;

-- Lists and makes a table.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_table(target text, statements text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    PERFORM pg_temp.leadbridge_list('leadbridge.tables', to_jsonb(target));
    PERFORM pg_temp.leadbridge_change('table ' || replace(target, '"', ''), statements);
END
$function$;

-- Whether the table exists, or is planned.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_will_have(target text) RETURNS boolean
    LANGUAGE sql
    AS $function$
    SELECT to_regclass(target) IS NOT NULL
        OR coalesce(nullif(current_setting('leadbridge.tables', true), ''), '[]')::jsonb ? target
$function$;

-- A fact that the operator must know, beside the changes.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_note(what text) RETURNS void
    LANGUAGE sql
    AS $function$ SELECT pg_temp.leadbridge_list('leadbridge.notes', to_jsonb(what)) $function$;

-- A plan lists every refusal. A run stops at the first refusal: an object that has appeared since the plan.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_refuse(what text, remedy text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    IF NOT pg_temp.leadbridge_only_plans() THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = what, HINT = remedy;
    END IF;
    PERFORM pg_temp.leadbridge_list('leadbridge.refusals', jsonb_build_object('what', what, 'remedy', remedy));
END
$function$;

-- Adds the columns that the table lacks, with one lock; each of `wanted` is a name and a definition. ADD COLUMN IF NOT
-- EXISTS would take an exclusive lock even when no column is missing. Returns whether a column was missing.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_add_columns(target text, wanted text[]) RETURNS boolean
    LANGUAGE plpgsql
    AS $function$
DECLARE
    missing record;
    additions text[] := '{}';
BEGIN
    FOR missing IN
        SELECT wanted[i][1] AS name, wanted[i][2] AS definition
        FROM generate_subscripts(wanted, 1) AS i
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = to_regclass(target) AND a.attname = wanted[i][1] AND NOT a.attisdropped)
        ORDER BY i
    LOOP
        additions := additions || format('ADD COLUMN %I %s', missing.name, missing.definition);
        PERFORM pg_temp.leadbridge_list('leadbridge.changes', to_jsonb(format(
            'column %s.%I %s', replace(target, '"', ''), missing.name, missing.definition)));
        -- The plan of a later migration must know the column.
        PERFORM pg_temp.leadbridge_list('leadbridge.columns', jsonb_build_object(
            'table', replace(target, '"', ''), 'column', missing.name));
    END LOOP;
    IF additions <> '{}' THEN
        PERFORM pg_temp.leadbridge_run(format('ALTER TABLE %s %s', target, array_to_string(additions, ', ')));
    END IF;
    RETURN additions <> '{}';
END
$function$;

-- The columns of a table in their order, and after them the columns that the plan has added.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_columns(target text) RETURNS text[]
    LANGUAGE sql
    AS $function$
    WITH present AS (
        SELECT a.attname::text AS name, a.attnum::bigint AS position FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = to_regclass(target) AND a.attnum > 0 AND NOT a.attisdropped
    ), planned AS (
        SELECT p.entry ->> 'column' AS name, 10000 + p.position AS position
        FROM jsonb_array_elements(coalesce(nullif(current_setting('leadbridge.columns', true), ''), '[]')::jsonb)
            WITH ORDINALITY AS p (entry, position)
        WHERE p.entry ->> 'table' = replace(target, '"', '') AND p.entry ->> 'column' NOT IN (SELECT name FROM present)
    )
    SELECT coalesce(array_agg(name ORDER BY position), '{}') FROM (TABLE present UNION ALL TABLE planned) AS c
$function$;

CREATE OR REPLACE FUNCTION pg_temp.leadbridge_comment(target text, name text, wanted text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = to_regclass(target) AND a.attname = name AND NOT a.attisdropped
            AND pg_catalog.col_description(a.attrelid, a.attnum) = wanted
    ) THEN
        PERFORM pg_temp.leadbridge_change(
            format('comment on column %s.%I', replace(target, '"', ''), name),
            format('COMMENT ON COLUMN %s.%I IS %L', target, name, wanted));
    END IF;
END
$function$;

-- Row-level security without a policy: the rows are for the service role until the owner adds a policy. A table of the
-- school's own that another role may read or write stays as the school has it, because the role's statements would find
-- no row or fail: `leadbridge migrate --api-access` closes such a table, and keeps what other roles have.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_secure_rows(target text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    is_ours boolean := false;
    users text;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(target) AND c.relrowsecurity) THEN
        RETURN;
    END IF;
    IF to_regclass('{{schema}}.api_objects') IS NOT NULL THEN
        EXECUTE 'SELECT bool_or(o.is_ours) FROM {{schema}}.api_objects AS o WHERE o.name = $1'
        INTO is_ours USING (parse_ident(target))[2];
    END IF;
    IF NOT coalesce(is_ours, false) THEN
        SELECT string_agg(r.rolname, ', ' ORDER BY r.rolname) INTO users
        FROM pg_catalog.pg_class AS c, pg_catalog.pg_roles AS r
        WHERE c.oid = to_regclass(target)
            -- Nobody is a predefined role; the members count.
            AND NOT starts_with(r.rolname, 'pg_')
            AND NOT (r.rolsuper OR r.rolbypassrls OR pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))
            AND (pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE')
                OR pg_catalog.has_table_privilege(r.oid, c.oid, 'DELETE'));
    END IF;
    IF users IS NULL THEN
        PERFORM pg_temp.leadbridge_change(
            format('row-level security of %s', replace(target, '"', '')),
            format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target));
    ELSE
        PERFORM pg_temp.leadbridge_note(format(
            'row-level security of %s stays off, because these roles use the table: %s', replace(target, '"', ''), users));
    END IF;
END
$function$;

-- A deleted lead takes its rows of the table `target` with it.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_require_lead(target text, leads text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint AS k
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
        JOIN pg_catalog.pg_attribute AS f ON f.attrelid = k.confrelid AND k.confkey = ARRAY[f.attnum]
        WHERE k.contype = 'f' AND k.conrelid = to_regclass(target) AND k.confrelid = to_regclass(leads)
            AND a.attname = 'lead_id' AND f.attname = 'id'
    ) THEN
        PERFORM pg_temp.leadbridge_refuse(
            format('%s has no foreign key from lead_id to the leads'' id', replace(target, '"', '')),
            format('run on Traffic: ALTER TABLE %s ADD FOREIGN KEY (lead_id) REFERENCES %s (id) ON DELETE CASCADE NOT '
                   'VALID; then run `leadbridge migrate` again', target, leads));
    END IF;
END
$function$;

-- The text of an expression or a key, without what PostgreSQL adds when it prints a stored expression.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_plain(expression text) RETURNS text
    LANGUAGE sql
    AS $function$
    SELECT regexp_replace(expression, '::(text|character varying)|[()"\s]', '', 'g')
$function$;

-- Builds an index with the given keys, of the kind 'INDEX' or 'UNIQUE INDEX'. CREATE INDEX lets every writer of the table wait, so where
-- the table holds rows the index is made after the transaction, by `leadbridge migrate`, with CONCURRENTLY. The printed
-- script cannot do so.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_build_index(target text, kind text, free_name text, keys text, what text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    -- The second name is for a table of the school's whose index of another form has the first.
    names text[] := ARRAY[free_name, left(free_name, 52) || '_leadbridge'];
    name_of text;
    unfinished record;
    is_inhabited boolean := false;
    tail text;
BEGIN
    -- What an interrupted CONCURRENTLY leaves serves nobody, and every write pays for it.
    FOR unfinished IN
        SELECT c.relname, format('%I.%I', n.nspname, c.relname) AS identity
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE i.indrelid = to_regclass(target) AND c.relname = ANY (names) AND NOT i.indisvalid
    LOOP
        name_of := unfinished.relname;
        PERFORM pg_temp.leadbridge_change(format('drops the unfinished index %s', replace(unfinished.identity, '"', '')),
                                          format('DROP INDEX %s', unfinished.identity));
    END LOOP;
    IF current_setting('leadbridge.indexes_later', true) = 'on' AND to_regclass(target) IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', target) INTO is_inhabited;
    END IF;
    name_of := coalesce(name_of, (
        SELECT n FROM unnest(names) WITH ORDINALITY AS u (n, at)
        WHERE to_regclass(format('%I.%I', (parse_ident(target))[1], n)) IS NULL ORDER BY at LIMIT 1));
    -- Without a name PostgreSQL chooses a name that is free.
    tail := format('%s ON %s %s', quote_ident(name_of), target, keys);
    IF is_inhabited THEN
        PERFORM pg_temp.leadbridge_list('leadbridge.changes', to_jsonb(what));
        PERFORM pg_temp.leadbridge_list('leadbridge.indexes', to_jsonb(format('CREATE %s CONCURRENTLY %s', kind, tail)));
    ELSE
        PERFORM pg_temp.leadbridge_change(what, format('CREATE %s %s', kind, tail));
    END IF;
END
$function$;

-- Makes an index unless an index on the table already serves: a valid btree index whose first keys are the wanted keys,
-- and whose condition is none or the wanted one, whatever its name. An index that a snapshot has deferred comes back by
-- itself.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_index(target text, suffix text, keys text, condition text DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    wanted text := pg_temp.leadbridge_plain(keys);
    tail text := '(' || keys || ')' || coalesce(' WHERE ' || condition, '');
    what constant text := format('index on %s %s', replace(target, '"', ''), replace(tail, '"', ''));
    free_name text := (parse_ident(target))[2] || '_' || suffix;
    deferred boolean := false;
BEGIN
    IF EXISTS (
        SELECT FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_am AS m ON m.oid = c.relam
        CROSS JOIN LATERAL (
            SELECT string_agg(pg_temp.leadbridge_plain(pg_get_indexdef(i.indexrelid, k, true)), ',' ORDER BY k) AS keys,
                   bool_and((o.opcdefault OR o.opcname = 'varchar_ops')
                       AND (a.attnum IS NULL OR a.attcollation = i.indcollation[k - 1])) AS ordinary
            FROM generate_series(1, i.indnkeyatts::int) AS k
            JOIN pg_opclass AS o ON o.oid = i.indclass[k - 1]
            LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k - 1] AND a.attnum > 0
        ) AS has
        WHERE i.indrelid = to_regclass(target) AND m.amname = 'btree' AND i.indisvalid AND i.indisready AND has.ordinary
            AND left(has.keys || ',', length(wanted) + 1) = wanted || ','
            AND (i.indpred IS NULL OR pg_temp.leadbridge_plain(pg_get_expr(i.indpred, i.indrelid, true))
                = pg_temp.leadbridge_plain(condition))
    ) THEN
        RETURN;
    END IF;
    IF to_regclass('{{schema}}.deferred_indexes') IS NOT NULL THEN
        SELECT EXISTS (
            SELECT FROM {{schema}}.deferred_indexes AS d
            WHERE to_regclass(format('%I.%I', d.schema_name, d.table_name)) = to_regclass(target) AND left(
                split_part(pg_temp.leadbridge_plain(regexp_replace(d.definition, ' DESC| NULLS (FIRST|LAST)', '', 'g')),
                           'USINGbtree', 2) || ',', length(wanted) + 1) = wanted || ','
        ) INTO deferred;
    END IF;
    IF deferred THEN
        RETURN;
    END IF;
    PERFORM pg_temp.leadbridge_build_index(target, 'INDEX', free_name, tail, what);
END
$function$;

-- Rows that have been copied already lack values in new columns, and a table that was dropped and is made again lacks its
-- rows: the next start copies again.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_copy_again(condition text DEFAULT 'true') RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    copied boolean := false;
BEGIN
    IF to_regclass('{{schema}}.checkpoint') IS NULL OR current_setting('leadbridge.copies_again', true) = 'on' THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM {{schema}}.checkpoint WHERE state = ''streaming'' AND %s)', condition)
    INTO copied;
    IF copied THEN
        PERFORM pg_temp.leadbridge_change(
            'the next start copies Landing''s rows again',
            format('UPDATE {{schema}}.checkpoint SET state = ''snapshot'' WHERE state = ''streaming'' AND %s', condition));
        PERFORM set_config('leadbridge.copies_again', 'on', true);
    END IF;
END
$function$;

