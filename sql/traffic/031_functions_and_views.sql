-- Migration 016, second part: the functions and views. The file is applied last, because a view shows every column of
-- traffic_leads, and other migrations add columns.

-- 4. One spelling of a phone number. The function is a plain SQL expression, so that the planner inlines the call.
CREATE OR REPLACE FUNCTION {{traffic}}.normalize_phone(phone text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.regexp_replace(phone, '[^0-9+]', '', 'g') $$;

-- Leads of other writers have no phone_normalized; the partial index finds these leads.
DO $migration$
BEGIN
    IF to_regclass('{{traffic}}.traffic_leads_phone_unnormalized_idx') IS NULL THEN
        CREATE INDEX traffic_leads_phone_unnormalized_idx
            ON {{traffic}}.traffic_leads ({{traffic}}.normalize_phone(phone)) WHERE phone_normalized IS NULL;
    END IF;
END
$migration$;

-- 5. One lead for one person.
-- Callers with the same phone or e-mail wait for one another on advisory locks, taken in one order to avoid deadlocks.
-- After the wait a caller sees the other caller's lead, but not under repeatable read.
CREATE OR REPLACE FUNCTION {{traffic}}.find_or_create_unified_lead(
    p_email text, p_name text, p_phone text, p_source text, p_metadata jsonb DEFAULT '{}'
) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    v_email text := nullif(p_email, '');
    v_name text := nullif(p_name, '');
    v_phone text := {{traffic}}.normalize_phone(p_phone);
    v_key bigint;
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
       OR (l.phone_normalized IS NULL AND {{traffic}}.normalize_phone(l.phone) = v_phone)
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

    -- The trigger of migration 029 derives source and every other column that is not given.
    INSERT INTO {{traffic}}.traffic_leads (email, name, phone, phone_normalized, source, landing_source, landing_lead, metadata)
    VALUES (v_email, v_name, nullif(p_phone, ''), v_phone, NULL, p_source, true,
            coalesce(p_metadata, '{}'))
    RETURNING id INTO v_lead;
    RETURN v_lead;
END
$function$;

-- 6. Views. security_invoker: a view shows a role no more than the tables would. The columns are listed by name,
-- because a view with `*` could not be replaced after the table has grown.
CREATE OR REPLACE VIEW {{traffic}}.v_traffic_leads_with_journey WITH (security_invoker = true) AS
SELECT
    l.id, l.utm_source, l.utm_medium, l.utm_campaign, l.utm_content, l.utm_term, l.funnel_type, l.status,
    l.phone, l.phone_normalized, l.email, l.name, l.source, l.landing_source,
    l.fb_lead_id, l.fb_form_id, l.fb_ad_id, l.fb_adset_id, l.fb_campaign_id,
    l.amocrm_lead_id, l.amocrm_contact_id, l.amocrm_pipeline_id, l.amocrm_status_id, l.amocrm_synced,
    l.email_sent, l.sms_sent, l.email_clicked, l.sms_clicked, l.email_clicked_at, l.sms_clicked_at,
    l.click_count, l.metadata, l.created_at, l.updated_at, l.landing_synced_at,
    coalesce(journey.stages, '[]') AS journey,
    targetologist.user_id AS targetologist_id,
    targetologist.full_name AS targetologist_name,
    targetologist.team_name AS targetologist_team
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
-- Bindings are unique by their exact spelling. Of bindings that differ in case, the binding with the lead's own spelling
-- wins, and LIMIT keeps the lead a single row.
LEFT JOIN LATERAL (
    SELECT u.id AS user_id, u.full_name, u.team_name
    FROM {{traffic}}.traffic_user_utm_sources AS b
    JOIN {{traffic}}.traffic_users AS u ON u.id = b.user_id
    WHERE lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type
      AND b.is_active AND u.is_active
    ORDER BY b.utm_source = l.utm_source DESC, b.utm_source COLLATE "C"
    LIMIT 1
) AS targetologist ON true;

CREATE OR REPLACE VIEW {{traffic}}.v_traffic_leads_last_stage WITH (security_invoker = true) AS
SELECT
    l.id, l.name, l.phone, l.email, l.utm_source, l.funnel_type, l.status, l.created_at,
    last.stage AS last_stage, last.source AS last_stage_source, last.created_at AS last_stage_at
FROM {{traffic}}.traffic_leads AS l
LEFT JOIN LATERAL (
    SELECT j.stage, j.source, j.created_at
    FROM {{traffic}}.traffic_lead_journey AS j
    WHERE j.lead_id = l.id
    ORDER BY j.created_at DESC, j.id DESC
    LIMIT 1
) AS last ON true;
