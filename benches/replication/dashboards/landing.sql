-- A year of leads, for dashboards: {{leads}} leads from 2025-12-01 to 2026-11-30 and three journey entries for each on
-- average. The same rows for the same number, because the seed is set in the same session. A lead's documents are of some
-- 350 bytes. Written to Landing; Traffic gets the rows from leadbridge.
SELECT setseed(0.5);

-- 300 UTM sources, of which a few have most leads; a lead in ten has none, and each fifth is spelt in capital letters.
INSERT INTO landing_leads (id, email, name, phone, source, metadata, amocrm_lead_id, amocrm_synced, click_count, created_at,
                           updated_at, utm_source, utm_medium, utm_campaign)
SELECT md5('lead ' || i)::uuid, 'lead' || i || '@example.kz', 'Lead ' || i, '+7701' || lpad(i::text, 7, '0'),
    (ARRAY['twland', 'twland', 'expresscourse', 'challenge3d_kz', 'intensive1d', 'facebook_lead'])[1 + floor(random() * 6)::int],
    jsonb_build_object('user_agent', repeat('Mozilla/5.0 (iPhone) ', 12), 'answers', md5(i::text)),
    CASE WHEN i % 3 = 0 THEN i::text END, i % 3 = 0, i % 4, at, at,
    CASE WHEN i % 10 > 0 THEN CASE WHEN i % 5 = 1 THEN upper(name) ELSE name END END, 'cpc', 'campaign ' || i % 40
FROM (SELECT i, '2025-12-01'::timestamptz + (i + random()) / {{leads}} * interval '365 days' AS at,
             'source_' || floor(300 * random() ^ 3)::int AS name
      FROM generate_series(0, {{leads}} - 1) AS i) AS lead;

-- Three entries for each lead on average, within three weeks; a lead in fifty has none.
INSERT INTO journey_stages (id, lead_id, stage, source, metadata, created_at, event_type)
SELECT md5('entry ' || n || ' of ' || i)::uuid, md5('lead ' || i)::uuid,
    (ARRAY['proftest_submitted', 'expresscourse_clicked', 'expresscourse_submitted', 'payment_kaspi', 'payment_card'])[n],
    l.source, '{}', l.created_at + (n - 1 + random()) * interval '3 days', 'form_submit'
FROM generate_series(0, {{leads}} - 1) AS i
CROSS JOIN generate_series(1, CASE i % 50 WHEN 0 THEN 0 WHEN 5 THEN 2 ELSE 1 + i % 5 END) AS n
JOIN landing_leads AS l ON l.id = md5('lead ' || i)::uuid;

VACUUM ANALYZE landing_leads, journey_stages;
