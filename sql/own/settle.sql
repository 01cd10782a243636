-- Functions of the session that runs the migrations, on either database: they compare leadbridge's schema with one that the
-- same SQL makes anew in pg_temp. The functions of `closing.sql` come before.

CREATE OR REPLACE FUNCTION pg_temp.leadbridge_shape(own oid) RETURNS TABLE (object text, definition text)
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
{{shape}}
$function$;

-- What differs from the schema that the trial makes, and how: `foreign` objects are not of the trial, `missing` objects are
-- only of the trial. The trial's objects are rolled back.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_differences() RETURNS TABLE (kind text, object text)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $differences$
DECLARE
    made jsonb;
BEGIN
    BEGIN
        EXECUTE $trial${{trial}}$trial$;
        SELECT jsonb_object_agg(s.object, replace(replace(replace(s.definition,
            '"pg_temp"', '{{schema}}'), '''pg_temp''', $name${{schema_name}}$name$), 'pg_temp.', ''))
        INTO made FROM pg_temp.leadbridge_shape(pg_my_temp_schema()) AS s
        -- The functions of the session.
        WHERE s.object NOT LIKE 'function leadbridge\_%';
        RAISE SQLSTATE 'LB000';
    EXCEPTION WHEN SQLSTATE 'LB000' THEN
        NULL;
    END;
    RETURN QUERY
        SELECT CASE WHEN w.key IS NULL THEN 'foreign' WHEN s.object IS NULL THEN 'missing' ELSE 'altered' END,
               coalesce(s.object, w.key)
        FROM pg_temp.leadbridge_shape(
            (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = {{schema_name}})) AS s
        FULL JOIN jsonb_each_text(made) AS w ON w.key = s.object
        WHERE s.definition IS DISTINCT FROM w.value
        ORDER BY 1, coalesce(s.object, w.key) NOT LIKE 'table %', 2;
END
$differences$;

-- The end of every run: takes away the rights of others, refuses a schema that is not as the migrations make it, and
-- records its form. Nothing is written where the record is right.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_settle() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    own oid := (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = {{schema_name}});
    differing text;
    recorded text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('leadbridge migrate'));
    PERFORM pg_temp.leadbridge_close();
    SELECT string_agg(d.kind || ' ' || d.object, '; ') INTO differing
    FROM (SELECT * FROM pg_temp.leadbridge_differences() LIMIT 8) AS d;
    IF differing IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the schema %I is not as leadbridge makes it: %s', {{schema_name}}, differing),
            HINT = 'As the objects'' owner, drop what is foreign, and give what is missing or altered its form again; '
                'then run `leadbridge migrate`. An empty schema of another name does too: [names] schema.';
    END IF;
    SELECT {{hash}} INTO recorded FROM pg_temp.leadbridge_shape(own) AS s;
    IF recorded IS DISTINCT FROM obj_description(own, 'pg_namespace') THEN
        DELETE FROM {{schema}}.shape;
        INSERT INTO {{schema}}.shape SELECT s.object, md5(s.definition) FROM pg_temp.leadbridge_shape(own) AS s;
        EXECUTE format('COMMENT ON SCHEMA {{schema}} IS %L', recorded);
    END IF;
END
$function$;
