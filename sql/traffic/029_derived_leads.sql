-- A lead that an ordinary writer inserts or changes on Traffic gets what the mapping derives (docs/mapping.md), and
-- Landing's spelling follows values that a writer of Traffic's own columns changes.
--
-- The trigger does not fire for replicated rows: the trigger is not ENABLE REPLICA, and where leadbridge's role may not
-- set session_replication_role, the trigger's condition excludes transactions with `leadbridge.applying = on`.

-- Which leads flow back to Landing after a cutover. Before this migration every lead did, so the leads of an installation
-- that has switched get the value true. A changed default leaves existing rows as they are.
-- The plan begins here.
DO $migration$
DECLARE
    leads constant text := '{{traffic}}.traffic_leads';
    has_switched boolean := false;
BEGIN
    IF to_regclass('{{schema}}.checkpoint') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM {{schema}}.checkpoint WHERE state = ''switched'')' INTO has_switched;
    END IF;
    IF pg_temp.leadbridge_add_columns(leads, ARRAY[
        ['landing_lead', 'boolean NOT NULL DEFAULT ' || has_switched::text]]) AND has_switched THEN
        PERFORM pg_temp.leadbridge_run(format('ALTER TABLE %s ALTER COLUMN landing_lead SET DEFAULT false', leads));
    END IF;
    PERFORM pg_temp.leadbridge_comment(leads, 'landing_lead',
        'born here through Landing''s names or find_or_create_unified_lead: after a cutover, the lead flows back to Landing');
END
$migration$;

-- | target | sources |
-- |---|---|
-- | phone_normalized | phone |
-- | source | landing_source |
-- | amocrm_lead_id, amocrm_contact_id | landing_amocrm_lead_id, landing_amocrm_contact_id |
-- | utm_* | landing_utm_*, then metadata |
-- | funnel_type | landing_source, metadata |
-- | fb_* | metadata |
--
-- A writer sets a column explicitly by giving another value than the old row's; the old row of an INSERT is all null.
-- A target that the writer set is kept, and the landing_* column of the target follows, unless the writer set that
-- column too. A target that the writer did not set is derived again when one of its sources has changed.
-- The landing_amocrm_* columns follow in Landing's leads alone, because Landing's number may be unique (docs/legacy-names.md):
-- the number of a lead of Traffic's own must not stand in the way of a lead of Landing's.
--
-- The function calls only functions of pg_catalog, because a writer may lack EXECUTE on any other function.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_wanted()
    RETURNS TABLE (kind text, name text, arguments text, returns text, parameters text[], fewest int, most int,
                   source text, clearing text)
    LANGUAGE sql
    AS $wanted$
SELECT 'function', 'derive_traffic_lead', '', 'trigger', NULL::text[], 0, 0, $source$
CREATE OR REPLACE FUNCTION {{traffic}}.derive_traffic_lead() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    is_new CONSTANT boolean := TG_OP = 'INSERT';
    -- Texts, not documents: for jsonb, 1.0 equals 1.
    is_document_changed CONSTANT boolean := is_new OR NEW.metadata::text IS DISTINCT FROM OLD.metadata::text;
    utm CONSTANT text[] := '{utm_source,utm_medium,utm_campaign,utm_content,utm_term}';
    utm_camel CONSTANT text[] := '{utmSource,utmMedium,utmCampaign,utmContent,utmTerm}';
    fb CONSTANT text[] := '{fb_lead_id,fb_form_id,fb_ad_id,fb_adset_id,fb_campaign_id}';
    limits jsonb;
    word text;
    numbers bigint[];
    numbers_before bigint[];
    texts text[];
    texts_before text[];
    spelling text[];
    spelling_before text[];
    implied text;
    implied_before text;
BEGIN
    IF NOT is_new AND NOT is_document_changed AND (
        NEW.phone, NEW.phone_normalized, NEW.landing_phone_normalized, NEW.source, NEW.landing_source, NEW.funnel_type,
        NEW.amocrm_lead_id, NEW.landing_amocrm_lead_id, NEW.amocrm_contact_id, NEW.landing_amocrm_contact_id,
        NEW.utm_source, NEW.utm_medium, NEW.utm_campaign, NEW.utm_content, NEW.utm_term,
        NEW.landing_utm_source, NEW.landing_utm_medium, NEW.landing_utm_campaign, NEW.landing_utm_content,
        NEW.landing_utm_term
    ) IS NOT DISTINCT FROM (
        OLD.phone, OLD.phone_normalized, OLD.landing_phone_normalized, OLD.source, OLD.landing_source, OLD.funnel_type,
        OLD.amocrm_lead_id, OLD.landing_amocrm_lead_id, OLD.amocrm_contact_id, OLD.landing_amocrm_contact_id,
        OLD.utm_source, OLD.utm_medium, OLD.utm_campaign, OLD.utm_content, OLD.utm_term,
        OLD.landing_utm_source, OLD.landing_utm_medium, OLD.landing_utm_campaign, OLD.landing_utm_content,
        OLD.landing_utm_term
    ) THEN
        RETURN NEW;
    END IF;

    -- A derived value that is too long is cut, because the writer's statement must not fail for the value.
    SELECT coalesce(jsonb_object_agg(a.attname, a.atttypmod - 4), '{}') INTO limits
    FROM pg_attribute AS a
    WHERE a.attrelid = TG_RELID AND a.atttypid = 'varchar'::regtype AND a.atttypmod > 4;

    IF is_new THEN
        NEW.landing_lead := coalesce(NEW.landing_lead, false) OR coalesce(
            NEW.landing_source, NEW.landing_phone_normalized, NEW.landing_amocrm_lead_id, NEW.landing_amocrm_contact_id,
            NEW.landing_utm_source, NEW.landing_utm_medium, NEW.landing_utm_campaign, NEW.landing_utm_content,
            NEW.landing_utm_term
        ) IS NOT NULL;
        -- A writer of Landing's names leaves source at the column's default, which is no value of the writer's.
        IF NEW.landing_lead AND EXISTS (
            SELECT FROM pg_attrdef AS d
            JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
            WHERE d.adrelid = TG_RELID AND a.attname = 'source'
              AND starts_with(pg_get_expr(d.adbin, d.adrelid) || '::', '''' || replace(NEW.source, '''', '''''') || '''::')
        ) THEN
            NEW.source := NULL;
        END IF;
        NEW.email_sent := coalesce(NEW.email_sent, false);
        NEW.sms_sent := coalesce(NEW.sms_sent, false);
        NEW.email_clicked := coalesce(NEW.email_clicked, false);
        NEW.sms_clicked := coalesce(NEW.sms_clicked, false);
        NEW.click_count := coalesce(NEW.click_count, 0);
    END IF;

    -- phone_normalized: ASCII digits and +. Landing's own normalization follows a changed phone as well.
    IF (NEW.phone, NEW.phone_normalized) IS DISTINCT FROM (OLD.phone, OLD.phone_normalized) THEN
        IF NEW.phone_normalized IS NOT DISTINCT FROM OLD.phone_normalized THEN
            NEW.phone_normalized := left(regexp_replace(NEW.phone, '[^0-9+]', '', 'g'),
                                         coalesce((limits ->> 'phone_normalized')::integer, 2147483647));
        END IF;
        IF NEW.landing_phone_normalized IS NOT DISTINCT FROM OLD.landing_phone_normalized THEN
            NEW.landing_phone_normalized := NEW.phone_normalized;
        END IF;
    END IF;

    -- source: the word of landing_source. The collation C lowers ASCII letters only.
    IF NEW.source IS DISTINCT FROM OLD.source THEN
        IF NEW.landing_source IS NOT DISTINCT FROM OLD.landing_source THEN
            NEW.landing_source := NEW.source;
        END IF;
    ELSIF is_new OR NEW.landing_source IS DISTINCT FROM OLD.landing_source THEN
        word := lower(NEW.landing_source COLLATE "C");
        NEW.source := left(
            CASE
                WHEN word IS NULL OR NEW.landing_source COLLATE "C" = 'twland' THEN 'direct'
                WHEN strpos(word, 'facebook') > 0 THEN 'facebook'
                WHEN strpos(word, 'tiktok') > 0 THEN 'tiktok'
                WHEN strpos(word, 'google') > 0 THEN 'google'
                ELSE NEW.landing_source
            END,
            coalesce((limits ->> 'source')::integer, 2147483647));
    END IF;

    -- funnel_type: a word in landing_source, or the funnel that metadata declares.
    implied := NEW.metadata ->> 'funnel_type';
    IF NEW.funnel_type IS NOT DISTINCT FROM OLD.funnel_type AND (
        is_new OR NEW.landing_source IS DISTINCT FROM OLD.landing_source
        OR implied IS DISTINCT FROM OLD.metadata ->> 'funnel_type'
    ) THEN
        word := coalesce(lower(NEW.landing_source COLLATE "C"), '');
        implied := coalesce(implied, '') COLLATE "C";
        NEW.funnel_type := CASE
            WHEN strpos(word, 'challenge') > 0 OR implied = 'challenge3d' THEN 'challenge3d'
            WHEN strpos(word, 'intensive') > 0 OR implied = 'intensive1d' THEN 'intensive1d'
            ELSE 'express'
        END;
    END IF;

    -- amocrm_*: the number, if Landing's text is only ASCII digits and fits a bigint. A lead of Traffic's own has the
    -- number alone.
    numbers := ARRAY[NEW.amocrm_lead_id, NEW.amocrm_contact_id];
    numbers_before := ARRAY[OLD.amocrm_lead_id, OLD.amocrm_contact_id];
    spelling := ARRAY[NEW.landing_amocrm_lead_id, NEW.landing_amocrm_contact_id];
    spelling_before := ARRAY[OLD.landing_amocrm_lead_id, OLD.landing_amocrm_contact_id];
    FOR i IN 1 .. 2 LOOP
        IF numbers[i] IS DISTINCT FROM numbers_before[i] THEN
            IF spelling[i] IS NOT DISTINCT FROM spelling_before[i] THEN
                spelling[i] := CASE WHEN NEW.landing_lead OR NEW.landing_synced_at IS NOT NULL THEN numbers[i]::text END;
            END IF;
        ELSIF spelling[i] IS DISTINCT FROM spelling_before[i] THEN
            word := ltrim(spelling[i], '0');
            numbers[i] := CASE
                WHEN spelling[i] !~ '^[0-9]+$' THEN NULL
                WHEN length(word) < 19 THEN ('0' || word)::bigint
                WHEN length(word) = 19 AND word COLLATE "C" <= '9223372036854775807' THEN word::bigint
            END;
        END IF;
    END LOOP;
    NEW.amocrm_lead_id := numbers[1];
    NEW.amocrm_contact_id := numbers[2];
    NEW.landing_amocrm_lead_id := spelling[1];
    NEW.landing_amocrm_contact_id := spelling[2];

    -- utm_*: the first value that is neither null nor empty, of Landing's own column and the four places in metadata.
    texts := ARRAY[NEW.utm_source, NEW.utm_medium, NEW.utm_campaign, NEW.utm_content, NEW.utm_term];
    texts_before := ARRAY[OLD.utm_source, OLD.utm_medium, OLD.utm_campaign, OLD.utm_content, OLD.utm_term];
    spelling := ARRAY[NEW.landing_utm_source, NEW.landing_utm_medium, NEW.landing_utm_campaign,
                      NEW.landing_utm_content, NEW.landing_utm_term];
    spelling_before := ARRAY[OLD.landing_utm_source, OLD.landing_utm_medium, OLD.landing_utm_campaign,
                             OLD.landing_utm_content, OLD.landing_utm_term];
    FOR i IN 1 .. 5 LOOP
        IF texts[i] IS DISTINCT FROM texts_before[i] THEN
            IF spelling[i] IS NOT DISTINCT FROM spelling_before[i] THEN
                spelling[i] := texts[i];
            END IF;
            CONTINUE;
        END IF;
        implied := coalesce(
            nullif(NEW.metadata ->> utm[i], ''), nullif(NEW.metadata ->> utm_camel[i], ''),
            nullif(NEW.metadata -> 'utmParams' ->> utm[i], ''), nullif(NEW.metadata -> 'utmParams' ->> utm_camel[i], ''));
        implied_before := coalesce(
            nullif(OLD.metadata ->> utm[i], ''), nullif(OLD.metadata ->> utm_camel[i], ''),
            nullif(OLD.metadata -> 'utmParams' ->> utm[i], ''), nullif(OLD.metadata -> 'utmParams' ->> utm_camel[i], ''));
        IF is_new OR spelling[i] IS DISTINCT FROM spelling_before[i] OR implied IS DISTINCT FROM implied_before THEN
            texts[i] := left(coalesce(nullif(spelling[i], ''), implied),
                             coalesce((limits ->> utm[i])::integer, 2147483647));
        END IF;
    END LOOP;
    NEW.utm_source := texts[1];
    NEW.utm_medium := texts[2];
    NEW.utm_campaign := texts[3];
    NEW.utm_content := texts[4];
    NEW.utm_term := texts[5];
    NEW.landing_utm_source := spelling[1];
    NEW.landing_utm_medium := spelling[2];
    NEW.landing_utm_campaign := spelling[3];
    NEW.landing_utm_content := spelling[4];
    NEW.landing_utm_term := spelling[5];

    -- fb_*: the key in metadata. Without the key the value stays.
    IF is_document_changed THEN
        texts := ARRAY[NEW.fb_lead_id, NEW.fb_form_id, NEW.fb_ad_id, NEW.fb_adset_id, NEW.fb_campaign_id];
        texts_before := ARRAY[OLD.fb_lead_id, OLD.fb_form_id, OLD.fb_ad_id, OLD.fb_adset_id, OLD.fb_campaign_id];
        FOR i IN 1 .. 5 LOOP
            implied := NEW.metadata ->> fb[i];
            IF texts[i] IS NOT DISTINCT FROM texts_before[i] AND implied IS NOT NULL
                AND implied IS DISTINCT FROM OLD.metadata ->> fb[i] THEN
                texts[i] := left(implied, coalesce((limits ->> fb[i])::integer, 2147483647));
            END IF;
        END LOOP;
        NEW.fb_lead_id := texts[1];
        NEW.fb_form_id := texts[2];
        NEW.fb_ad_id := texts[3];
        NEW.fb_adset_id := texts[4];
        NEW.fb_campaign_id := texts[5];
    END IF;
    RETURN NEW;
EXCEPTION WHEN undefined_column THEN
    RAISE WARNING '% lacks a column of leadbridge, so a lead is not derived: %', TG_RELID::regclass, SQLERRM
        USING HINT = 'Run `leadbridge migrate`.';
    RETURN NEW;
END
$function$
$source$, 'DROP TRIGGER IF EXISTS "~leadbridge_derive" ON {{traffic}}.traffic_leads;
DROP FUNCTION IF EXISTS {{traffic}}.derive_traffic_lead();'
$wanted$;

-- The name sorts after the school's triggers, whose changes count as the writer's, and before the last trigger of
-- migration 018. Only a missing trigger is created, because CREATE TRIGGER locks the table.
DO $migration$
DECLARE
    called oid;
BEGIN
    PERFORM pg_temp.leadbridge_make('029_derived_leads');
    SELECT t.tgfoid INTO called FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = '{{traffic}}.traffic_leads'::pg_catalog.regclass AND t.tgname = '~leadbridge_derive';
    IF called IS NULL THEN
        PERFORM pg_temp.leadbridge_change(
            format('trigger "~leadbridge_derive" on %s', replace('{{traffic}}.traffic_leads', '"', '')), $statement$
            CREATE TRIGGER "~leadbridge_derive" BEFORE INSERT OR UPDATE ON {{traffic}}.traffic_leads FOR EACH ROW
                WHEN (pg_catalog.current_setting('leadbridge.applying', true) IS DISTINCT FROM 'on')
                EXECUTE FUNCTION {{traffic}}.derive_traffic_lead()$statement$);
    ELSIF called IS DISTINCT FROM to_regprocedure('{{traffic}}.derive_traffic_lead()')::oid THEN
        PERFORM pg_temp.leadbridge_refuse(
            format('the trigger "~leadbridge_derive" on %s calls a function that is not leadbridge''s',
                   replace('{{traffic}}.traffic_leads', '"', '')),
            'find out who has made the trigger, drop it, and run `leadbridge migrate` again');
    END IF;
END
$migration$;
