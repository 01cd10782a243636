-- Functions of the session, with which `leadbridge migrate` makes the legacy names (docs/legacy-names.md). The step that
-- calls them is made from Landing's catalog, and defines pg_temp.leadbridge_wanted() as `replacing.sql` says.

-- Takes every right on a new view but its owner's: the platform's default privileges give the API's roles all rights.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_close_view(target text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    EXECUTE pg_temp.leadbridge_grants('pg_catalog.pg_class'::pg_catalog.regclass, target, NULL, NULL);
END
$function$;

-- Makes the wanted views. An object of somebody else's under one of the names is refused, not replaced.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_make_legacy() RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    taken record;
BEGIN
    PERFORM pg_temp.leadbridge_decide();
    FOR taken IN
        SELECT d.identity FROM pg_temp.leadbridge_decisions AS d
        WHERE d.species = 'view' AND NOT d.is_made ORDER BY d.position
    LOOP
        PERFORM pg_temp.leadbridge_refuse(
            format('the view %s is not as leadbridge makes it, and leadbridge makes a view of this name for old code', taken.identity),
            format('rename the view, or drop it: DROP VIEW %s; then run `leadbridge migrate --legacy` again', taken.identity));
    END LOOP;
    PERFORM pg_temp.leadbridge_make('legacy names');
END
$function$;

-- Gives the role SELECT on a view, where it lacks the right.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_legacy_reader(target text, reader text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    IF to_regclass(target) IS NULL OR NOT pg_catalog.has_table_privilege(reader, to_regclass(target)::oid, 'SELECT') THEN
        PERFORM pg_temp.leadbridge_change(
            format('SELECT on %s for %I', replace(target, '"', ''), reader),
            format('GRANT SELECT ON %s TO %I', target, reader));
    END IF;
END
$function$;

-- Brings a record of leadbridge's to `wanted`, a JSON array of rows. Returns whether the record was another.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_legacy_record(what text, target text, of_columns text, wanted jsonb)
    RETURNS boolean
    LANGUAGE plpgsql
    AS $function$
DECLARE
    recorded jsonb := '[]';
    is_same boolean;
BEGIN
    IF to_regclass(target) IS NOT NULL THEN
        EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %s AS r', target) INTO recorded;
    END IF;
    SELECT (SELECT jsonb_agg(e ORDER BY e::text) FROM jsonb_array_elements(recorded) AS e)
        IS NOT DISTINCT FROM (SELECT jsonb_agg(e ORDER BY e::text) FROM jsonb_array_elements(wanted) AS e) INTO is_same;
    IF NOT is_same THEN
        PERFORM pg_temp.leadbridge_change(what, format(
            'DELETE FROM %1$s; INSERT INTO %1$s SELECT r.* FROM jsonb_to_recordset(%2$L) AS r (%3$s)',
            target, wanted, of_columns));
    END IF;
    RETURN NOT is_same;
END
$function$;

-- Gives the rights to write at once, where Traffic is the system of record already.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_open_legacy() RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    has_switched boolean := false;
BEGIN
    IF to_regclass('{{schema}}.checkpoint') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM {{schema}}.checkpoint WHERE state = ''switched'')' INTO has_switched;
    END IF;
    IF has_switched THEN
        PERFORM pg_temp.leadbridge_change('the rights to write through the legacy names, because Traffic is the system of record',
            'SELECT {{schema}}.open_legacy_names()');
    END IF;
END
$function$;

-- Takes AmoCRM's texts from leads that are Traffic's own. Such a lead has the number in a column of Traffic's, and its text
-- must not stand in the way of a lead of Landing's. An earlier version of migration 029 filled the texts.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_clear_spelling(leads text, spelled text[]) RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    own text := 'landing_synced_at IS NULL AND NOT landing_lead AND coalesce(%s) IS NOT NULL';
    present bigint;
BEGIN
    IF EXISTS (SELECT FROM unnest(spelled || ARRAY['landing_lead', 'landing_synced_at']) AS c WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass(leads) AND a.attname = c AND NOT a.attisdropped)) THEN
        RETURN;
    END IF;
    own := format(own, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(spelled) AS c));
    EXECUTE format('SELECT count(*) FROM %s WHERE %s', leads, own) INTO present;
    IF present > 0 THEN
        -- Under `leadbridge.applying` the triggers of migrations 018 and 029 leave the other columns as they are.
        PERFORM pg_temp.leadbridge_change(
            format('clears %s of the leads that are Traffic''s own: %s', array_to_string(spelled, ' and '), present),
            format('SELECT pg_catalog.set_config(''leadbridge.applying'', ''on'', true); UPDATE %s SET %s WHERE %s; '
                'SELECT pg_catalog.set_config(''leadbridge.applying'', '''', true)', leads,
                (SELECT string_agg(quote_ident(c) || ' = NULL', ', ') FROM unnest(spelled) AS c), own));
    END IF;
END
$function$;

-- Makes a unique index that old code's ON CONFLICT finds, unless one is there under whatever name. Duplicates are refused
-- with the query that shows them. The keys are columns in which Traffic's own leads have no values.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_unique(target text, keys text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    list text := (SELECT string_agg(quote_ident(k), ', ') FROM unnest(keys) AS k);
    query text;
    has_duplicates boolean;
BEGIN
    IF EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = to_regclass(target) AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready
            AND i.indexprs IS NULL AND i.indpred IS NULL AND NOT i.indnullsnotdistinct
            AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute AS a
                 WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
                = (SELECT array_agg(k ORDER BY k) FROM unnest(keys) AS k)
    ) THEN
        RETURN;
    END IF;
    IF (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = to_regclass(target) AND NOT a.attisdropped
            AND a.attname = ANY (keys || ARRAY['landing_synced_at', 'landing_lead'])) = cardinality(keys) + 2 THEN
        query := format('SELECT %s, count(*), array_agg(id) FROM %s WHERE (landing_synced_at IS NOT NULL OR landing_lead)%s '
            'GROUP BY %s HAVING count(*) > 1', list, target,
            (SELECT string_agg(format(' AND %I IS NOT NULL', k), '') FROM unnest(keys) AS k),
            list);
        EXECUTE format('SELECT EXISTS (%s)', query) INTO has_duplicates;
        IF has_duplicates THEN
            PERFORM pg_temp.leadbridge_refuse(
                format('leads have the same %s, which is unique on Landing', list),
                format('correct the leads that this query shows on Traffic, and run `leadbridge migrate --legacy` again: %s', query));
        END IF;
    END IF;
    PERFORM pg_temp.leadbridge_build_index(target, 'UNIQUE INDEX',
        left((parse_ident(target))[2] || '_' || array_to_string(keys, '_'), 59) || '_key',
        format('(%s)', list),
        format('unique index on %s (%s)', replace(target, '"', ''), replace(list, '"', '')));
END
$function$;
