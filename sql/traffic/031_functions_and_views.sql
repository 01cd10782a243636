-- Migration 016, second part: the functions and views. The file is applied last, because a view shows every column of
-- traffic_leads, and other migrations add columns.

-- The plan begins here.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_wanted()
    RETURNS TABLE (kind text, name text, arguments text, returns text, parameters text[], fewest int, most int,
                   source text, clearing text)
    LANGUAGE sql
    AS $wanted$
-- 4. One spelling of a phone number. The function is a plain SQL expression, so that the planner inlines the call. A
-- function of the school's own keeps its parameter's name, so that indexes on the function can stay.
SELECT 'function', 'normalize_phone', 'text', 'text', NULL::text[], 1, 1, $source$
CREATE OR REPLACE FUNCTION {{traffic}}.normalize_phone(<<parameter>> text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.regexp_replace($1, '[^0-9+]', '', 'g') $$
$source$, 'DROP FUNCTION IF EXISTS {{traffic}}.normalize_phone(text);'
UNION ALL
-- 5. One lead for one person.
-- Callers with the same phone or e-mail wait for one another on advisory locks, taken in one order to avoid deadlocks.
-- After the wait a caller sees the other caller's lead, but not under repeatable read.
-- The function calls only functions of pg_catalog, because a caller may lack EXECUTE on normalize_phone.
SELECT 'function', 'find_or_create_unified_lead', 'text,text,text,text,jsonb', 'uuid',
    ARRAY['p_email', 'p_name', 'p_phone', 'p_source', 'p_metadata'], 4, 5, $source$
CREATE OR REPLACE FUNCTION {{traffic}}.find_or_create_unified_lead(
    p_email text, p_name text, p_phone text, p_source text, p_metadata jsonb DEFAULT '{}'
) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    v_email text := nullif(p_email, '');
    v_name text := nullif(p_name, '');
    v_phone text := regexp_replace(p_phone, '[^0-9+]', '', 'g');
    v_key bigint;
    v_legacy regclass;
    v_columns text[];
    v_lead uuid;
BEGIN
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE feature_not_supported USING
            MESSAGE = 'find_or_create_unified_lead cannot run in a repeatable read transaction',
            HINT = 'Call it in a read committed or a serializable transaction.';
    END IF;
    -- A text without a digit is not a phone number.
    IF v_phone !~ '[0-9]' THEN
        v_phone := NULL;
    END IF;

    FOR v_key IN
        SELECT DISTINCT k FROM unnest(ARRAY[
            hashtextextended('unified_lead phone ' || v_phone, 0),
            hashtextextended('unified_lead email ' || v_email, 0)
        ]) AS k WHERE k IS NOT NULL ORDER BY k
    LOOP
        PERFORM pg_advisory_xact_lock(v_key);
    END LOOP;

    SELECT l.id INTO v_lead
    FROM {{traffic}}.traffic_leads AS l
    WHERE l.phone_normalized = v_phone
       OR (l.phone_normalized IS NULL AND regexp_replace(l.phone, '[^0-9+]', '', 'g') = v_phone)
    ORDER BY l.created_at, l.id
    LIMIT 1;
    IF v_lead IS NULL THEN
        SELECT l.id INTO v_lead
        FROM {{traffic}}.traffic_leads AS l
        WHERE l.email = v_email
        ORDER BY l.created_at, l.id
        LIMIT 1;
    END IF;

    IF v_lead IS NOT NULL THEN
        UPDATE {{traffic}}.traffic_leads AS l
        SET name = coalesce(v_name, l.name), email = coalesce(v_email, l.email)
        WHERE l.id = v_lead
          AND (l.name, l.email) IS DISTINCT FROM (coalesce(v_name, l.name), coalesce(v_email, l.email));
        RETURN v_lead;
    END IF;

    -- The trigger of migration 029 derives source and every other column that is not given. Through the legacy name, which
    -- can be written from the switch on, the lead has the defaults of Landing's columns as well.
    SELECT c.oid INTO v_legacy FROM pg_class AS c
    WHERE c.oid = to_regclass('{{traffic}}.landing_leads') AND c.relkind = 'v' AND has_table_privilege(c.oid, 'INSERT')
      AND obj_description(c.oid, 'pg_class') = 'legacy name of traffic_leads, made by leadbridge for old code';
    IF v_legacy IS NOT NULL THEN
        v_columns := CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = v_legacy AND attname = 'email')
            THEN ARRAY[', email', ', $5'] ELSE ARRAY['', ''] END;
        EXECUTE format('INSERT INTO %s (name, phone, source, metadata%s) VALUES ($1, $2, $3, $4%s) RETURNING id',
                       v_legacy, v_columns[1], v_columns[2])
            INTO v_lead USING v_name, nullif(p_phone, ''), p_source, coalesce(p_metadata, '{}'), v_email;
        -- An older Landing has no e-mail; a lead without a source does not show through which name it was born.
        UPDATE {{traffic}}.traffic_leads AS l SET email = v_email, landing_lead = true
        WHERE l.id = v_lead AND (l.email, l.landing_lead) IS DISTINCT FROM (v_email, true);
        RETURN v_lead;
    END IF;
    INSERT INTO {{traffic}}.traffic_leads (email, name, phone, phone_normalized, source, landing_source, landing_lead, metadata)
    VALUES (v_email, v_name, nullif(p_phone, ''), v_phone, NULL, p_source, true,
            coalesce(p_metadata, '{}'))
    RETURNING id INTO v_lead;
    RETURN v_lead;
END
$function$
$source$, 'DROP FUNCTION IF EXISTS {{traffic}}.find_or_create_unified_lead(text, text, text, text, jsonb);'
UNION ALL
-- 6. Views. security_invoker: a view shows a role no more than the tables would.
SELECT 'view', v.name, NULL, NULL, NULL, NULL, NULL,
    format(E'CREATE VIEW {{traffic}}.%I WITH (security_invoker = true) AS\n%s', v.name,
           replace(replace(v.query, '<<columns of the lead>>', lead.columns), '<<targetologist of the lead>>', $attribution$
-- Bindings are unique by their exact spelling. Of bindings that differ in case, the binding with the lead's own spelling
-- wins, and LIMIT keeps the lead a single row.
LEFT JOIN LATERAL (
    SELECT u.id AS user_id, u.full_name, u.team_name, b.utm_source
    FROM {{traffic}}.traffic_user_utm_sources AS b
    JOIN {{traffic}}.traffic_users AS u ON u.id = b.user_id
    WHERE lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type
      AND b.is_active AND u.is_active
    ORDER BY b.utm_source = l.utm_source DESC, b.utm_source COLLATE "C"
    LIMIT 1
) AS targetologist ON true$attribution$)),
    format('DROP VIEW IF EXISTS {{traffic}}.%I;', v.name)
FROM (VALUES
    ('v_traffic_leads_with_journey', $query$
SELECT
    <<columns of the lead>>,
    coalesce(journey.stages, '[]') AS journey_stages,
    targetologist.user_id AS targetologist_id,
    targetologist.full_name AS targetologist_name,
    targetologist.team_name AS targetologist_team,
    targetologist.utm_source AS attributed_utm_source
FROM {{traffic}}.traffic_leads AS l
LEFT JOIN LATERAL (
    SELECT jsonb_agg(
        jsonb_build_object('id', j.id, 'stage', j.stage, 'source', j.source, 'metadata', j.metadata,
                           'created_at', j.created_at)
        ORDER BY j.created_at, j.id
    ) AS stages
    FROM {{traffic}}.traffic_lead_journey AS j
    WHERE j.lead_id = l.id
) AS journey ON true
<<targetologist of the lead>>$query$),

    ('v_traffic_leads_last_stage', $query$
SELECT DISTINCT ON (j.lead_id)
    j.lead_id, j.stage AS last_stage, j.source AS last_source, j.created_at AS last_stage_at
FROM {{traffic}}.traffic_lead_journey AS j
ORDER BY j.lead_id, j.created_at DESC, j.id DESC$query$),

    -- Leads that are credited to somebody. A day is a day of the caller's time zone.
    ('v_leads_by_targetologist_daily', $query$
SELECT
    l.created_at::date AS date, targetologist.user_id, targetologist.full_name AS targetologist,
    targetologist.team_name, targetologist.utm_source, l.funnel_type, count(*) AS leads_count
FROM {{traffic}}.traffic_leads AS l
<<targetologist of the lead>>
WHERE targetologist.user_id IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6$query$),

    ('v_leads_by_team_daily', $query$
SELECT
    l.created_at::date AS date, coalesce(targetologist.team_name, 'Unassigned') AS team_name, l.funnel_type, l.source,
    count(*) AS leads_count
FROM {{traffic}}.traffic_leads AS l
<<targetologist of the lead>>
GROUP BY 1, 2, 3, 4$query$),

    ('v_top_utm_sources_by_leads', $query$
SELECT
    l.utm_source, l.funnel_type, count(*) AS total_leads, count(DISTINCT l.created_at::date) AS active_days,
    min(l.created_at::date) AS first_lead_date, max(l.created_at::date) AS last_lead_date,
    count(*) FILTER (WHERE l.amocrm_synced OR l.amocrm_lead_id IS NOT NULL) AS synced_to_amocrm
FROM {{traffic}}.traffic_leads AS l
WHERE l.utm_source IS NOT NULL
GROUP BY l.utm_source, l.funnel_type
ORDER BY total_leads DESC$query$)
) AS v (name, query)
-- A column of the lead that has the name of another column of the view stands in the table only.
CROSS JOIN (
    SELECT string_agg(format('l.%I', name), ', ' ORDER BY position) AS columns
    FROM unnest(pg_temp.leadbridge_columns('{{traffic}}.traffic_leads')) WITH ORDINALITY AS c (name, position)
    WHERE name NOT IN ('journey_stages', 'targetologist_id', 'targetologist_name', 'targetologist_team',
                       'attributed_utm_source')
) AS lead
$wanted$;

DO $migration$
DECLARE
    leads constant text := '{{traffic}}.traffic_leads';
    earlier text;
BEGIN
    PERFORM pg_temp.leadbridge_make('031_functions_and_views');
    -- Leads of other writers have no phone_normalized; the partial index finds these leads. The server checks EXECUTE on
    -- an index's functions as the role that writes the row, so the expression calls functions of pg_catalog alone.
    PERFORM pg_temp.leadbridge_index(leads, 'phone_digits_idx', $$regexp_replace(phone, '[^0-9+]', '', 'g')$$,
        'phone_normalized IS NULL');
    -- The index of earlier versions called normalize_phone.
    SELECT format('%I.%I', n.nspname, c.relname) INTO earlier
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE i.indrelid = to_regclass(leads) AND c.relname = 'traffic_leads_phone_unnormalized_idx'
        AND i.indexprs IS NOT NULL AND i.indpred IS NOT NULL;
    IF FOUND THEN
        PERFORM pg_temp.leadbridge_change(format('drops index %s, whose function every writer needed EXECUTE on', earlier),
                                          format('DROP INDEX %s', earlier));
    END IF;
END
$migration$;
