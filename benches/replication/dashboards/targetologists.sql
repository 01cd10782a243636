-- 48 targetologists in six teams, and who bought which UTM source. The first sources have most leads, so that the first
-- team has about half of all leads, and the last team a few. Each eighth binding and each twelfth targetologist is
-- inactive; a third of the sources is bound in another spelling too.
ALTER TABLE traffic_users DROP CONSTRAINT IF EXISTS traffic_users_team_name_check;
TRUNCATE traffic_users CASCADE;
INSERT INTO traffic_users (id, full_name, team_name, is_active)
SELECT md5('targetologist ' || i)::uuid, 'Targetologist ' || i, 'Team ' || 1 + i / 8, i % 12 <> 11
FROM generate_series(0, 47) AS i;
INSERT INTO traffic_user_utm_sources (user_id, utm_source, funnel_type, is_active)
SELECT md5('targetologist ' || least(s / 7, 40))::uuid, spelling, funnel, s % 8 <> 7
FROM (SELECT generate_series(0, 279) UNION ALL VALUES (298)) AS bought (s),
    unnest(ARRAY['express', 'challenge3d', 'intensive1d']) AS funnel,
    unnest(CASE WHEN s % 3 = 0 THEN ARRAY['source_' || s, 'Source_' || s] ELSE ARRAY['source_' || s] END) AS spelling;
VACUUM ANALYZE traffic_users, traffic_user_utm_sources;
