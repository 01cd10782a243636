-- The old way: Landing keeps leads and journeys, Traffic has the targetologists, and postgres_fdw reads Landing's tables.
-- To the old way's favour: Landing has the index that the questions need, foreign tables have only the columns that are
-- asked for, the planner asks Landing for its estimates, and a fetch brings 10,000 rows instead of 100.
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE SERVER landing FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '{{port}}', dbname 'landing', use_remote_estimate 'true', fetch_size '10000');
CREATE USER MAPPING FOR CURRENT_USER SERVER landing OPTIONS (user 'postgres', password '{{password}}');
CREATE FOREIGN TABLE landing_leads (
    id uuid NOT NULL, name text, phone text, email text, source text, metadata jsonb, amocrm_lead_id text, amocrm_synced boolean,
    created_at timestamptz NOT NULL, utm_source text
) SERVER landing OPTIONS (schema_name 'public', table_name 'landing_leads');
CREATE FOREIGN TABLE journey_stages (
    id uuid NOT NULL, lead_id uuid NOT NULL, stage text, source text, metadata jsonb, created_at timestamptz NOT NULL
) SERVER landing OPTIONS (schema_name 'public', table_name 'journey_stages');

-- What a school writes: the funnel from the source, and who is credited.
CREATE VIEW old_leads AS
SELECT l.*, CASE WHEN l.source ILIKE '%challenge%' THEN 'challenge3d' WHEN l.source ILIKE '%intensive%' THEN 'intensive1d'
                 ELSE 'express' END AS funnel_type
FROM landing_leads AS l;
CREATE VIEW old_attributed AS
SELECT DISTINCT ON (l.id) l.*, b.user_id, b.full_name, b.team_name, b.utm_source AS attributed
FROM old_leads AS l
LEFT JOIN (SELECT b.utm_source, b.funnel_type, u.id AS user_id, u.full_name, u.team_name
           FROM traffic_user_utm_sources AS b JOIN traffic_users AS u ON u.id = b.user_id
           WHERE b.is_active AND u.is_active) AS b
    ON lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type
ORDER BY l.id, b.utm_source = l.utm_source DESC, b.utm_source COLLATE "C";
