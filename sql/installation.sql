-- The installation of leadbridge that owns the schema, on either database. State tables hold rows without a slot, and
-- the schema's functions name one set of tables: a second installation would take rows and functions for its own.
CREATE TABLE IF NOT EXISTS {{schema}}.installation (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    slot text NOT NULL,
    publication text NOT NULL,
    landing_system_id text,
    landing_database text,
    traffic_schema text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN {{schema}}.installation.landing_system_id IS
    'the Landing cluster''s system identifier; null until leadbridge has read the identifier';
REVOKE ALL ON {{schema}}.installation FROM PUBLIC;
DO $installation$
DECLARE
    owner record;
BEGIN
    -- A schema from before this table names the owner in `checkpoint`. Another installation's checkpoint comes first: then
    -- the check below refuses the schema.
    IF to_regclass('{{schema}}.checkpoint') IS NOT NULL THEN
        INSERT INTO {{schema}}.installation (slot, publication, landing_system_id, landing_database, traffic_schema)
        SELECT c.slot, c.publication, c.landing_system_id, c.landing_database, {{traffic_name}} FROM {{schema}}.checkpoint AS c
        ORDER BY c.slot = {{slot_name}}, c.slot LIMIT 1
        ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO {{schema}}.installation (slot, publication, traffic_schema)
    VALUES ({{slot_name}}, {{publication_name}}, {{traffic_name}})
    ON CONFLICT DO NOTHING;
    SELECT * INTO owner FROM {{schema}}.installation;
    IF (owner.slot, owner.publication) IS DISTINCT FROM ({{slot_name}}, {{publication_name}}) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the schema %I belongs to the installation with slot %s and publication %s',
                             {{schema_name}}, owner.slot, owner.publication),
            HINT = 'Choose another schema for this installation: [names] schema in its configuration.';
    END IF;
END
$installation$;
