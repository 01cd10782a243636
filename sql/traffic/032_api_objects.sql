-- Which of the objects that the migrations create in Traffic's schema were there before: the school's own Migration 016
-- makes objects with the same names. Migration 033 grants rights only on objects that leadbridge has created, so each name
-- is recorded once, before the migration that creates the object.
CREATE TABLE IF NOT EXISTS {{schema}}.api_objects (
    name text PRIMARY KEY,
    is_ours boolean NOT NULL,
    granted oid[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE {{schema}}.api_objects IS
    'tables, views and functions of Traffic''s schema, and whether leadbridge has created them';
COMMENT ON COLUMN {{schema}}.api_objects.granted IS
    'the objects whose rights were given at their creation; later changes are the owner''s';
REVOKE ALL ON {{schema}}.api_objects FROM PUBLIC;

INSERT INTO {{schema}}.api_objects (name, is_ours)
SELECT o.name, to_regclass(format('{{traffic}}.%I', o.name)) IS NULL AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_proc AS p
    WHERE p.proname = o.name AND p.pronamespace = to_regnamespace('{{traffic}}'))
FROM unnest(ARRAY[
    'traffic_lead_journey', 'traffic_scheduled_notifications',
    'v_traffic_leads_with_journey', 'v_traffic_leads_last_stage', 'v_leads_by_targetologist_daily',
    'v_leads_by_team_daily', 'v_top_utm_sources_by_leads',
    'normalize_phone', 'find_or_create_unified_lead', 'derive_traffic_lead'
]) AS o (name)
ON CONFLICT (name) DO NOTHING;
