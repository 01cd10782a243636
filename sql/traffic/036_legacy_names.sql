-- Legacy names (docs/legacy-names.md): which views stand on Traffic under Landing's names, and who may write through them
-- from the switch on. `leadbridge migrate --legacy` makes the views and fills the first two tables, from Landing's catalog.
CREATE TABLE IF NOT EXISTS {{schema}}.legacy_names (
    name text PRIMARY KEY,
    shows text,
    has_owner_rights boolean NOT NULL
);
COMMENT ON TABLE {{schema}}.legacy_names IS 'the views that stand in Traffic''s schema under the names of Landing''s relations';
COMMENT ON COLUMN {{schema}}.legacy_names.shows IS
    'the replicated table whose rows the view shows; null for a view that has Landing''s own definition';
COMMENT ON COLUMN {{schema}}.legacy_names.has_owner_rights IS
    'the view runs with its owner''s rights, as on Landing, because the operator has named it (migrate --public-view)';

CREATE TABLE IF NOT EXISTS {{schema}}.legacy_rights (
    relation text,
    role name,
    privilege text CHECK (privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')),
    columns text[],
    PRIMARY KEY (relation, role, privilege)
);
COMMENT ON TABLE {{schema}}.legacy_rights IS
    'what the switch gives: rights on the legacy names as Landing''s tables have them, and the rights below on Traffic''s tables';
COMMENT ON COLUMN {{schema}}.legacy_rights.columns IS 'null for a right on the whole relation';

CREATE TABLE IF NOT EXISTS {{schema}}.legacy_grants (
    relation text,
    role name,
    privilege text,
    columns text[],
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (relation, role, privilege)
);
COMMENT ON TABLE {{schema}}.legacy_grants IS 'what of legacy_rights the roles lacked at the switch and were given; a rollback takes exactly this';
REVOKE ALL ON {{schema}}.legacy_names, {{schema}}.legacy_rights, {{schema}}.legacy_grants FROM PUBLIC;

-- Gives each role what it lacks of its rights, in the switch's own transaction. Returns the roles that have rights.
CREATE OR REPLACE FUNCTION {{schema}}.open_legacy_names() RETURNS SETOF name
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    due record;
    lacking text[];
BEGIN
    PERFORM {{schema}}.admit_caller();
    FOR due IN
        SELECT r.*, to_regclass(r.relation) AS target FROM {{schema}}.legacy_rights AS r
        WHERE to_regclass(r.relation) IS NOT NULL AND to_regrole(quote_ident(r.role)) IS NOT NULL
        ORDER BY r.relation, r.role, r.privilege
    LOOP
        lacking := NULL;
        IF due.columns IS NULL THEN
            CONTINUE WHEN has_table_privilege(due.role, due.target, due.privilege);
        ELSE
            lacking := ARRAY(
                SELECT a.attname::text FROM pg_attribute AS a
                WHERE a.attrelid = due.target AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (due.columns)
                    AND NOT has_column_privilege(due.role, due.target, a.attnum, due.privilege)
                ORDER BY a.attnum);
            CONTINUE WHEN lacking = '{}';
        END IF;
        EXECUTE format('GRANT %s%s ON %s TO %I', due.privilege,
            (SELECT ' (' || string_agg(quote_ident(c), ', ') || ')' FROM unnest(lacking) AS c), due.relation, due.role);
        INSERT INTO {{schema}}.legacy_grants AS g (relation, role, privilege, columns)
        VALUES (due.relation, due.role, due.privilege, lacking)
        -- A right on the whole relation covers the columns that were given before.
        ON CONFLICT (relation, role, privilege) DO UPDATE SET columns =
            CASE WHEN excluded.columns IS NOT NULL AND g.columns IS NOT NULL THEN g.columns || excluded.columns END;
    END LOOP;
    -- The HTTP layer has read the schema before.
    IF EXISTS (SELECT FROM {{schema}}.legacy_names) THEN
        PERFORM pg_notify('pgrst', 'reload schema');
    END IF;
    RETURN QUERY SELECT DISTINCT r.role FROM {{schema}}.legacy_rights AS r
        WHERE to_regrole(quote_ident(r.role)) IS NOT NULL ORDER BY 1;
END
$function$;

-- Takes what open_legacy_names() has given, in a rollback's own transaction.
CREATE OR REPLACE FUNCTION {{schema}}.close_legacy_names() RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    given record;
    present text[];
BEGIN
    PERFORM {{schema}}.admit_caller();
    FOR given IN
        SELECT g.*, to_regclass(g.relation) AS target FROM {{schema}}.legacy_grants AS g
        WHERE to_regclass(g.relation) IS NOT NULL AND to_regrole(quote_ident(g.role)) IS NOT NULL
        ORDER BY g.relation, g.role, g.privilege
    LOOP
        present := NULL;
        IF given.columns IS NOT NULL THEN
            present := ARRAY(
                SELECT a.attname::text FROM pg_attribute AS a
                WHERE a.attrelid = given.target AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (given.columns)
                ORDER BY a.attnum);
            CONTINUE WHEN present = '{}';
        END IF;
        EXECUTE format('REVOKE %s%s ON %s FROM %I', given.privilege,
            (SELECT ' (' || string_agg(quote_ident(c), ', ') || ')' FROM unnest(present) AS c), given.relation, given.role);
    END LOOP;
    DELETE FROM {{schema}}.legacy_grants;
    IF EXISTS (SELECT FROM {{schema}}.legacy_names) THEN
        PERFORM pg_notify('pgrst', 'reload schema');
    END IF;
END
$function$;

REVOKE ALL ON FUNCTION {{schema}}.open_legacy_names(), {{schema}}.close_legacy_names() FROM PUBLIC;
