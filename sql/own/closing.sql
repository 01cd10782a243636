-- Functions of the session that runs the migrations, on either database: they take away the rights of others in
-- leadbridge's schema.

CREATE OR REPLACE FUNCTION pg_temp.leadbridge_rights() RETURNS TABLE (what text, statement text)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    served text[];
BEGIN
    -- Before the first migration of a new installation nobody is served.
    IF to_regclass('{{schema}}.served') IS NOT NULL THEN
        served := ARRAY(SELECT s.role::text FROM {{schema}}.served AS s);
    END IF;
    RETURN QUERY
{{rights}};
END
$function$;

-- Takes away the rights of others, whatever the default privileges are. Called within the transaction of each migration,
-- so that nobody has a right on a new object for a moment.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_close() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    surplus record;
BEGIN
    IF to_regclass('{{schema}}.served') IS NULL THEN
        RETURN;
    END IF;
    FOR surplus IN SELECT * FROM pg_temp.leadbridge_rights() LOOP
        EXECUTE surplus.statement;
    END LOOP;
    SELECT string_agg(r.what, '; ') AS what, string_agg(r.statement, '; ') AS statements
    INTO surplus FROM pg_temp.leadbridge_rights() AS r;
    IF surplus.what IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('rights in the schema %I stay, because another role has given them: %s', {{schema_name}}, surplus.what),
            HINT = format('Run as that role, or as a superuser: %s', surplus.statements);
    END IF;
END
$function$;
