-- The five views as their rules are spelt, over any tables of leads and journey entries: what a school writes. `make
-- bench` makes them over foreign tables, and the tests compare the answers of Traffic's views with theirs.
CREATE VIEW {{schema}}.v_attributed AS
SELECT l.*, b.user_id, b.full_name, b.team_name, b.attributed
FROM {{leads}} AS l
LEFT JOIN LATERAL (
    SELECT u.id AS user_id, u.full_name, u.team_name, b.utm_source AS attributed
    FROM traffic_user_utm_sources AS b JOIN traffic_users AS u ON u.id = b.user_id
    WHERE lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type AND b.is_active AND u.is_active
    ORDER BY b.utm_source = l.utm_source DESC, b.utm_source COLLATE "C" LIMIT 1
) AS b ON true;

CREATE VIEW {{schema}}.v_traffic_leads_with_journey AS
SELECT l.id, l.name, l.phone, l.created_at, coalesce(j.stages, '[]') AS journey_stages, l.user_id AS targetologist_id,
    l.full_name AS targetologist_name, l.team_name AS targetologist_team, l.attributed AS attributed_utm_source
FROM {{schema}}.v_attributed AS l
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('id', j.id, 'stage', j.stage, 'source', j.source, 'metadata', j.metadata,
                                        'created_at', j.created_at) ORDER BY j.created_at, j.id) AS stages
    FROM {{journey}} AS j WHERE j.lead_id = l.id
) AS j ON true;

CREATE VIEW {{schema}}.v_traffic_leads_last_stage AS
SELECT DISTINCT ON (lead_id) lead_id, stage AS last_stage, source AS last_source, created_at AS last_stage_at
FROM {{journey}} ORDER BY lead_id, created_at DESC, id DESC;

CREATE VIEW {{schema}}.v_leads_by_targetologist_daily AS
SELECT created_at::date AS date, user_id, full_name AS targetologist, team_name, attributed AS utm_source, funnel_type,
    count(*) AS leads_count
FROM {{schema}}.v_attributed WHERE user_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6;

CREATE VIEW {{schema}}.v_leads_by_team_daily AS
SELECT created_at::date AS date, coalesce(team_name, 'Unassigned') AS team_name, funnel_type, source,
    count(*) AS leads_count
FROM {{schema}}.v_attributed GROUP BY 1, 2, 3, 4;

CREATE VIEW {{schema}}.v_top_utm_sources_by_leads AS
SELECT utm_source, funnel_type, count(*) AS total_leads, count(DISTINCT created_at::date) AS active_days,
    min(created_at::date) AS first_lead_date, max(created_at::date) AS last_lead_date,
    count(*) FILTER (WHERE amocrm_synced OR amocrm_lead_id IS NOT NULL) AS synced_to_amocrm
FROM {{leads}} WHERE utm_source IS NOT NULL GROUP BY utm_source, funnel_type;
