-- The old way: Landing keeps leads and journeys, Traffic has the targetologists, and postgres_fdw reads Landing's tables.
-- To the old way's favour: foreign tables have only the columns that are asked for, the planner asks Landing for its
-- estimates, a fetch brings 10,000 rows instead of 100, and Landing's leads have their UTM source in a column.
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE SERVER landing FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '{{port}}', dbname 'landing', use_remote_estimate 'true', fetch_size '10000');
CREATE USER MAPPING FOR CURRENT_USER SERVER landing OPTIONS (user 'postgres', password '{{password}}');
CREATE FOREIGN TABLE landing_leads (
    id uuid NOT NULL, name text, phone text, source text, amocrm_lead_id text, amocrm_synced boolean,
    created_at timestamptz NOT NULL, utm_source text
) SERVER landing;
CREATE FOREIGN TABLE journey_stages (
    id uuid NOT NULL, lead_id uuid NOT NULL, stage text, source text, metadata jsonb, created_at timestamptz NOT NULL
) SERVER landing;
CREATE VIEW leads_of_landing AS
SELECT l.*, CASE WHEN l.source ILIKE '%challenge%' THEN 'challenge3d' WHEN l.source ILIKE '%intensive%' THEN 'intensive1d'
                 ELSE 'express' END AS funnel_type
FROM landing_leads AS l;
