-- The functions and views outside of leadbridge's schema: what leadbridge has made, and what was there before.
DO $migration$
BEGIN
    IF to_regclass('{{schema}}.made') IS NULL THEN
        CREATE TABLE {{schema}}.made (
            object text PRIMARY KEY,
            source text NOT NULL,
            fingerprint text NOT NULL,
            made_at timestamptz NOT NULL DEFAULT now()
        );
        -- An installation from before this record has made some objects already.
        INSERT INTO {{schema}}.made (object, source, fingerprint)
        SELECT p.identity, '', p.fingerprint
        FROM (VALUES
            ('function', 'normalize_phone', '(text)', 1, 1),
            ('function', 'find_or_create_unified_lead', '(text,text,text,text,jsonb)', 4, 5),
            ('view', 'v_traffic_leads_with_journey', '', NULL, NULL),
            ('view', 'v_traffic_leads_last_stage', '', NULL, NULL)
        ) AS earlier (kind, name, arguments, fewest, most)
        CROSS JOIN LATERAL pg_temp.leadbridge_present(kind, name, fewest, most) AS p
        WHERE p.identity = format('%I.%I', {{traffic_name}}, name) || arguments AND p.species = kind
            AND EXISTS (SELECT FROM {{schema}}.migrations AS m WHERE m.name = '016_unified_leads');
    END IF;
END
$migration$;
COMMENT ON TABLE {{schema}}.made IS
    'functions and views that leadbridge has made outside of its schema; an object with another fingerprint is of another origin';
COMMENT ON COLUMN {{schema}}.made.source IS 'hash of the statement that made the object';
COMMENT ON COLUMN {{schema}}.made.fingerprint IS 'hash of the definition that PostgreSQL printed afterwards';

CREATE TABLE IF NOT EXISTS {{schema}}.replaced (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    schema_name name NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    migration text NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {{schema}}.replaced IS
    'functions and views of another origin that a migration has replaced, each written in the transaction that replaced it';
COMMENT ON COLUMN {{schema}}.replaced.definition IS
    'the SQL that puts the object back, with its owner, grants, comments and options';

REVOKE ALL ON {{schema}}.made, {{schema}}.replaced FROM PUBLIC;
