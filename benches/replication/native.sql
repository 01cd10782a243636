-- The solution of a school with PostgreSQL alone: PostgreSQL's logical replication fills shadow tables with the
-- publisher's names, and triggers on the shadow tables translate each row into the real tables.
--
-- The apply worker runs with session_replication_role = replica and an empty search_path: only ENABLE ALWAYS triggers
-- fire, the user-defined trigger on updated_at does not fire, foreign keys are not checked, and every name is qualified.
-- Landing's cascades arrive as deletes of their own.
--
-- Left out, in favour of this solution: conversion notes, a quarantine (a value that is too long stops the worker), and
-- the commit time: a trigger does not see the commit time, so landing_synced_at is the time of applying.

CREATE FUNCTION public.translate_lead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The document is read once, because each ->> would fetch and decompress a TOASTed document again.
    INSERT INTO public.traffic_leads AS t (
        id, email, name, phone, phone_normalized, source, landing_source, metadata,
        utm_source, utm_medium, utm_campaign, utm_content, utm_term, funnel_type,
        amocrm_lead_id, amocrm_contact_id, amocrm_synced, email_sent, sms_sent, email_clicked, sms_clicked,
        email_clicked_at, sms_clicked_at, click_count,
        fb_lead_id, fb_form_id, fb_ad_id, fb_adset_id, fb_campaign_id,
        landing_amocrm_lead_id, landing_amocrm_contact_id, landing_phone_normalized, landing_utm_source,
        landing_utm_medium, landing_utm_campaign, landing_utm_content, landing_utm_term,
        email_sent_at, email_error, email_opened_at, sms_sent_at, sms_error, sms_message_id, amocrm_sync_status,
        amocrm_sync_attempts, amocrm_sync_last_error,
        status, created_at, updated_at, landing_synced_at
    )
    SELECT
        NEW.id, NEW.email, NEW.name, NEW.phone, public.normalize_phone(NEW.phone),
        left(CASE
            WHEN NEW.source IS NULL OR NEW.source = 'twland' THEN 'direct'
            WHEN strpos(s.lower, 'facebook') > 0 THEN 'facebook'
            WHEN strpos(s.lower, 'tiktok') > 0 THEN 'tiktok'
            WHEN strpos(s.lower, 'google') > 0 THEN 'google'
            ELSE NEW.source
        END, 50),
        NEW.source, NEW.metadata,
        left(coalesce(nullif(NEW.utm_source, ''), nullif(d.utm_source, ''), nullif(d."utmSource", ''),
                      nullif(p.utm_source, ''), nullif(p."utmSource", '')), 100),
        left(coalesce(nullif(NEW.utm_medium, ''), nullif(d.utm_medium, ''), nullif(d."utmMedium", ''),
                      nullif(p.utm_medium, ''), nullif(p."utmMedium", '')), 100),
        left(coalesce(nullif(NEW.utm_campaign, ''), nullif(d.utm_campaign, ''), nullif(d."utmCampaign", ''),
                      nullif(p.utm_campaign, ''), nullif(p."utmCampaign", '')), 255),
        left(coalesce(nullif(NEW.utm_content, ''), nullif(d.utm_content, ''), nullif(d."utmContent", ''),
                      nullif(p.utm_content, ''), nullif(p."utmContent", '')), 255),
        left(coalesce(nullif(NEW.utm_term, ''), nullif(d.utm_term, ''), nullif(d."utmTerm", ''),
                      nullif(p.utm_term, ''), nullif(p."utmTerm", '')), 255),
        CASE
            WHEN strpos(s.lower, 'challenge') > 0 OR d.funnel_type = 'challenge3d' THEN 'challenge3d'
            WHEN strpos(s.lower, 'intensive') > 0 OR d.funnel_type = 'intensive1d' THEN 'intensive1d'
            ELSE 'express'
        END,
        CASE WHEN NEW.amocrm_lead_id ~ '^[0-9]+$' AND NEW.amocrm_lead_id::numeric <= 9223372036854775807
            THEN NEW.amocrm_lead_id::bigint END,
        CASE WHEN NEW.amocrm_contact_id ~ '^[0-9]+$' AND NEW.amocrm_contact_id::numeric <= 9223372036854775807
            THEN NEW.amocrm_contact_id::bigint END,
        NEW.amocrm_synced, coalesce(NEW.email_sent, false), coalesce(NEW.sms_sent, false),
        coalesce(NEW.email_clicked, false), coalesce(NEW.sms_clicked, false),
        NEW.email_clicked_at, NEW.sms_clicked_at, coalesce(NEW.click_count, 0),
        left(d.fb_lead_id, 100), left(d.fb_form_id, 100), left(d.fb_ad_id, 100), left(d.fb_adset_id, 100),
        left(d.fb_campaign_id, 100),
        NEW.amocrm_lead_id, NEW.amocrm_contact_id, NEW.phone_normalized, NEW.utm_source, NEW.utm_medium,
        NEW.utm_campaign, NEW.utm_content, NEW.utm_term,
        NEW.email_sent_at, NEW.email_error, NEW.email_opened_at, NEW.sms_sent_at, NEW.sms_error, NEW.sms_message_id,
        NEW.amocrm_sync_status, NEW.amocrm_sync_attempts, NEW.amocrm_sync_last_error,
        'new', NEW.created_at, NEW.updated_at, clock_timestamp()
    FROM lower(coalesce(NEW.source, '') COLLATE "C") AS s (lower),
        jsonb_to_record(CASE WHEN jsonb_typeof(NEW.metadata) = 'object' THEN NEW.metadata ELSE '{}' END) AS d (
            utm_source text, "utmSource" text, utm_medium text, "utmMedium" text, utm_campaign text,
            "utmCampaign" text, utm_content text, "utmContent" text, utm_term text, "utmTerm" text,
            funnel_type text, fb_lead_id text, fb_form_id text, fb_ad_id text, fb_adset_id text,
            fb_campaign_id text, "utmParams" jsonb),
        jsonb_to_record(CASE WHEN jsonb_typeof(d."utmParams") = 'object' THEN d."utmParams" ELSE '{}' END) AS p (
            utm_source text, "utmSource" text, utm_medium text, "utmMedium" text, utm_campaign text,
            "utmCampaign" text, utm_content text, "utmContent" text, utm_term text, "utmTerm" text)
    ON CONFLICT (id) DO UPDATE SET
        email = excluded.email, name = excluded.name, phone = excluded.phone,
        phone_normalized = excluded.phone_normalized, source = excluded.source,
        landing_source = excluded.landing_source, metadata = excluded.metadata,
        utm_source = excluded.utm_source, utm_medium = excluded.utm_medium, utm_campaign = excluded.utm_campaign,
        utm_content = excluded.utm_content, utm_term = excluded.utm_term, funnel_type = excluded.funnel_type,
        amocrm_lead_id = excluded.amocrm_lead_id, amocrm_contact_id = excluded.amocrm_contact_id,
        amocrm_synced = excluded.amocrm_synced, email_sent = excluded.email_sent, sms_sent = excluded.sms_sent,
        email_clicked = excluded.email_clicked, sms_clicked = excluded.sms_clicked,
        email_clicked_at = excluded.email_clicked_at, sms_clicked_at = excluded.sms_clicked_at,
        click_count = excluded.click_count,
        fb_lead_id = coalesce(excluded.fb_lead_id, t.fb_lead_id),
        fb_form_id = coalesce(excluded.fb_form_id, t.fb_form_id),
        fb_ad_id = coalesce(excluded.fb_ad_id, t.fb_ad_id),
        fb_adset_id = coalesce(excluded.fb_adset_id, t.fb_adset_id),
        fb_campaign_id = coalesce(excluded.fb_campaign_id, t.fb_campaign_id),
        landing_amocrm_lead_id = excluded.landing_amocrm_lead_id, landing_amocrm_contact_id =
        excluded.landing_amocrm_contact_id, landing_phone_normalized = excluded.landing_phone_normalized,
        landing_utm_source = excluded.landing_utm_source, landing_utm_medium = excluded.landing_utm_medium,
        landing_utm_campaign = excluded.landing_utm_campaign, landing_utm_content = excluded.landing_utm_content,
        landing_utm_term = excluded.landing_utm_term, email_sent_at = excluded.email_sent_at, email_error =
        excluded.email_error, email_opened_at = excluded.email_opened_at, sms_sent_at = excluded.sms_sent_at,
        sms_error = excluded.sms_error, sms_message_id = excluded.sms_message_id, amocrm_sync_status =
        excluded.amocrm_sync_status, amocrm_sync_attempts = excluded.amocrm_sync_attempts, amocrm_sync_last_error =
        excluded.amocrm_sync_last_error,
        created_at = excluded.created_at, updated_at = excluded.updated_at,
        landing_synced_at = excluded.landing_synced_at;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.translate_stage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.traffic_lead_journey (id, lead_id, stage, source, metadata, created_at, event_type, landing_synced_at)
    VALUES (NEW.id, NEW.lead_id, NEW.stage, NEW.source, NEW.metadata, NEW.created_at, NEW.event_type,
            clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET
        lead_id = excluded.lead_id, stage = excluded.stage, source = excluded.source,
        metadata = excluded.metadata, created_at = excluded.created_at, event_type = excluded.event_type,
        landing_synced_at = excluded.landing_synced_at;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.delete_lead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.traffic_leads WHERE id = OLD.id;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.delete_stage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.traffic_lead_journey WHERE id = OLD.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER translate AFTER INSERT OR UPDATE ON public.landing_leads
    FOR EACH ROW EXECUTE FUNCTION public.translate_lead();
CREATE TRIGGER gone AFTER DELETE ON public.landing_leads
    FOR EACH ROW EXECUTE FUNCTION public.delete_lead();
CREATE TRIGGER translate AFTER INSERT OR UPDATE ON public.journey_stages
    FOR EACH ROW EXECUTE FUNCTION public.translate_stage();
CREATE TRIGGER gone AFTER DELETE ON public.journey_stages
    FOR EACH ROW EXECUTE FUNCTION public.delete_stage();

ALTER TABLE public.landing_leads ENABLE ALWAYS TRIGGER translate, ENABLE ALWAYS TRIGGER gone;
ALTER TABLE public.journey_stages ENABLE ALWAYS TRIGGER translate, ENABLE ALWAYS TRIGGER gone;
