-- The record of applied migrations. This migration comes first, because every other migration is recorded here.
-- CREATE SCHEMA IF NOT EXISTS needs CREATE on the database even when a DBA has made the schema already. A trial of this
-- SQL makes its objects in pg_temp, which is there.
DO $migration$
BEGIN
    IF {{schema_name}} <> 'pg_temp' AND to_regnamespace('{{schema}}') IS NULL THEN
        CREATE SCHEMA {{schema}};
    END IF;
END
$migration$;

CREATE TABLE IF NOT EXISTS {{schema}}.migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT current_user,
    leadbridge_version text NOT NULL
);

-- Quarantined rows hold people's names and phones, so nobody but leadbridge may read anything in this schema: the rights of
-- everybody else are revoked at the end of each migration, on the schema itself too.
REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
