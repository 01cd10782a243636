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
        -- An older Landing has no e-mail; a lead without a source does not show through which name it was born. Only then the
        -- caller needs the right to update.
        IF EXISTS (SELECT FROM {{traffic}}.traffic_leads AS l
                   WHERE l.id = v_lead AND (l.email, l.landing_lead) IS DISTINCT FROM (v_email, true)) THEN
            UPDATE {{traffic}}.traffic_leads AS l SET email = v_email, landing_lead = true WHERE l.id = v_lead;
        END IF;
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
-- 6. Views. security_invoker: a view shows a role no more than the tables would. Each view is plain: a lead is seen as soon
-- as it is committed. docs/design.md says why the queries have this form.
SELECT 'view', v.name, NULL, NULL, NULL, NULL, NULL,
    format(E'CREATE VIEW {{traffic}}.%I WITH (security_invoker = true) AS\n%s', v.name,
           replace(replace(replace(replace(v.query, '<<columns of the lead>>', lead.columns),
           '<<days of leads>>', $days$
-- A superset of the days with leads: each found day and its neighbours, because where clocks go back over midnight an hour
-- of a day comes twice. The next day is found through the index on created_at.
WITH RECURSIVE found (date) AS (
    (SELECT l.created_at::date FROM {{traffic}}.traffic_leads AS l ORDER BY l.created_at LIMIT 1)
    UNION ALL
    SELECT next.date
    FROM found CROSS JOIN LATERAL (
        SELECT l.created_at::date AS date FROM {{traffic}}.traffic_leads AS l
        WHERE l.created_at >= (found.date + 1)::timestamptz AND l.created_at::date > found.date
        ORDER BY l.created_at LIMIT 1
    ) AS next
), days (date) AS (
    SELECT date FROM found UNION SELECT date - 1 FROM found UNION SELECT date + 1 FROM found
)$days$),
           '<<leads with their day and targetologist>>', $leads$
FROM days
-- The first condition is for the index, the second is the rule. As an equality, the second would be taken to the leads
-- alone, and all leads would be read for one day.
JOIN {{traffic}}.traffic_leads AS l
    ON l.created_at BETWEEN days.date::timestamptz - interval '3 hours' AND (days.date + 1)::timestamptz + interval '3 hours'
    AND l.created_at::date BETWEEN days.date AND days.date
<<targetologist of the lead>>$leads$),
           '<<targetologist of the lead>>', $attribution$
-- Bindings are unique by their exact spelling. Of bindings that differ in case, the binding with the lead's own spelling
-- wins, else the first in byte order. Each of the two joins finds one binding at most, so a lead stays a single row. Texts
-- are equal when their bytes are, and are sorted by bytes, because that is faster than a language's order.
-- A binding and a lead meet on one text of funnel and spelling: of two equalities the planner, which knows nothing of the
-- inner queries' values, may take one for the join and the other for a filter, and compare every lead with every binding. No
-- funnel has a space in it.
LEFT JOIN (
    SELECT DISTINCT ON ((b.funnel_type || ' ' || b.utm_source) COLLATE "C")
        (b.funnel_type || ' ' || b.utm_source) COLLATE "C" AS key, b.utm_source, u.id AS user_id, u.full_name, u.team_name
    FROM {{traffic}}.traffic_user_utm_sources AS b
    JOIN {{traffic}}.traffic_users AS u ON u.id = b.user_id
    WHERE b.is_active AND u.is_active
    ORDER BY (b.funnel_type || ' ' || b.utm_source) COLLATE "C", u.id
) AS own_spelling ON own_spelling.key = (l.funnel_type || ' ' || l.utm_source) COLLATE "C"
LEFT JOIN (
    SELECT DISTINCT ON ((b.funnel_type || ' ' || lower(b.utm_source)) COLLATE "C")
        (b.funnel_type || ' ' || lower(b.utm_source)) COLLATE "C" AS key, b.utm_source, u.id AS user_id, u.full_name,
        u.team_name
    FROM {{traffic}}.traffic_user_utm_sources AS b
    JOIN {{traffic}}.traffic_users AS u ON u.id = b.user_id
    WHERE b.is_active AND u.is_active
    ORDER BY (b.funnel_type || ' ' || lower(b.utm_source)) COLLATE "C", b.utm_source COLLATE "C", u.id
) AS any_spelling ON any_spelling.key = (l.funnel_type || ' ' || lower(l.utm_source)) COLLATE "C"
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN own_spelling.user_id IS NULL THEN any_spelling.user_id ELSE own_spelling.user_id END AS user_id,
        CASE WHEN own_spelling.user_id IS NULL THEN any_spelling.full_name ELSE own_spelling.full_name END AS full_name,
        CASE WHEN own_spelling.user_id IS NULL THEN any_spelling.team_name ELSE own_spelling.team_name END AS team_name,
        CASE WHEN own_spelling.user_id IS NULL THEN any_spelling.utm_source ELSE own_spelling.utm_source END AS utm_source
) AS targetologist$attribution$)),
    format('DROP VIEW IF EXISTS {{traffic}}.%I;', v.name)
FROM (VALUES
    ('v_traffic_leads_with_journey', $query$
SELECT
    <<columns of the lead>>,
    -- A query of its own for each row that is shown, so that a filter on the targetologist reads no journey.
    coalesce((
        SELECT jsonb_agg(
            jsonb_build_object('id', j.id, 'stage', j.stage, 'source', j.source, 'metadata', j.metadata,
                               'created_at', j.created_at)
            ORDER BY j.created_at, j.id
        )
        FROM {{traffic}}.traffic_lead_journey AS j
        WHERE j.lead_id = l.id
    ), '[]') AS journey_stages,
    targetologist.user_id AS targetologist_id,
    targetologist.full_name AS targetologist_name,
    targetologist.team_name AS targetologist_team,
    targetologist.utm_source AS attributed_utm_source
FROM {{traffic}}.traffic_leads AS l
<<targetologist of the lead>>$query$),

    ('v_traffic_leads_last_stage', $query$
SELECT l.id AS lead_id, latest.last_stage, latest.last_source, latest.last_stage_at
FROM {{traffic}}.traffic_leads AS l
CROSS JOIN LATERAL (
    SELECT j.stage AS last_stage, j.source AS last_source, j.created_at AS last_stage_at
    FROM {{traffic}}.traffic_lead_journey AS j
    WHERE j.lead_id = l.id
    ORDER BY j.created_at DESC, j.id DESC
    LIMIT 1
) AS latest$query$),

    -- Leads that are credited to somebody. A day is a day of the caller's time zone.
    ('v_leads_by_targetologist_daily', $query$<<days of leads>>
SELECT
    days.date, targetologist.user_id, targetologist.full_name AS targetologist,
    targetologist.team_name, targetologist.utm_source, l.funnel_type, count(*) AS leads_count
<<leads with their day and targetologist>>
WHERE targetologist.user_id IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6$query$),

    ('v_leads_by_team_daily', $query$<<days of leads>>
SELECT
    days.date, coalesce(targetologist.team_name, 'Unassigned') AS team_name, l.funnel_type, l.source,
    count(*) AS leads_count
<<leads with their day and targetologist>>
GROUP BY 1, 2, 3, 4$query$),

    ('v_top_utm_sources_by_leads', $query$
SELECT
    s.utm_source, s.funnel_type, s.total_leads, days.active_days, days.first_lead_date, days.last_lead_date,
    s.synced_to_amocrm
FROM (
    SELECT
        l.utm_source, l.funnel_type, count(*) AS total_leads, array_agg(l.created_at::date) AS dates,
        count(*) FILTER (WHERE l.amocrm_synced OR l.amocrm_lead_id IS NOT NULL) AS synced_to_amocrm
    FROM {{traffic}}.traffic_leads AS l
    WHERE l.utm_source IS NOT NULL
    GROUP BY l.utm_source, l.funnel_type
) AS s
-- count(DISTINCT) in the inner query would sort all leads by their texts.
CROSS JOIN LATERAL (
    SELECT count(DISTINCT d) AS active_days, min(d) AS first_lead_date, max(d) AS last_lead_date
    FROM unnest(s.dates) AS d
) AS days
ORDER BY s.total_leads DESC$query$)
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
    -- The views of a day read the leads by time.
    PERFORM pg_temp.leadbridge_index(leads, 'created_at_idx', 'created_at');
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
