-- The expected rows of traffic_leads, computed on Landing: a second statement of the mapping, written independently.
-- $1: the limits of Traffic's varchar columns, as a JSON object {column: characters}.
-- First column: every column as text, in a JSON object; a fb_* column only where Landing has a value, because Traffic's
-- own value stays otherwise. "Any case" means ASCII's: COLLATE "C". Second: the originals of changed values, by column.
-- Third: whether a verbatim value is too long for Traffic.
WITH lead AS (
    SELECT l.*, lower(coalesce(l.source, '') COLLATE "C") AS any_case,
           l.metadata -> 'utmParams' AS params, $1::text::jsonb AS lim
    FROM public.landing_leads AS l
), derived AS (
    SELECT lead.*,
        CASE
            WHEN source IS NULL OR source = 'twland' THEN 'direct'
            WHEN strpos(any_case, 'facebook') > 0 THEN 'facebook'
            WHEN strpos(any_case, 'tiktok') > 0 THEN 'tiktok'
            WHEN strpos(any_case, 'google') > 0 THEN 'google'
            ELSE source
        END AS t_source,
        CASE
            WHEN strpos(any_case, 'challenge') > 0 OR metadata ->> 'funnel_type' = 'challenge3d'
                THEN 'challenge3d'
            WHEN strpos(any_case, 'intensive') > 0 OR metadata ->> 'funnel_type' = 'intensive1d'
                THEN 'intensive1d'
            ELSE 'express'
        END AS t_funnel_type,
        coalesce(nullif(lead.utm_source, ''), nullif(metadata ->> 'utm_source', ''), nullif(metadata ->> 'utmSource', ''),
                 nullif(params ->> 'utm_source', ''), nullif(params ->> 'utmSource', '')) AS t_utm_source,
        coalesce(nullif(lead.utm_medium, ''), nullif(metadata ->> 'utm_medium', ''), nullif(metadata ->> 'utmMedium', ''),
                 nullif(params ->> 'utm_medium', ''), nullif(params ->> 'utmMedium', '')) AS t_utm_medium,
        coalesce(nullif(lead.utm_campaign, ''), nullif(metadata ->> 'utm_campaign', ''), nullif(metadata ->> 'utmCampaign', ''),
                 nullif(params ->> 'utm_campaign', ''), nullif(params ->> 'utmCampaign', '')) AS t_utm_campaign,
        coalesce(nullif(lead.utm_content, ''), nullif(metadata ->> 'utm_content', ''), nullif(metadata ->> 'utmContent', ''),
                 nullif(params ->> 'utm_content', ''), nullif(params ->> 'utmContent', '')) AS t_utm_content,
        coalesce(nullif(lead.utm_term, ''), nullif(metadata ->> 'utm_term', ''), nullif(metadata ->> 'utmTerm', ''),
                 nullif(params ->> 'utm_term', ''), nullif(params ->> 'utmTerm', '')) AS t_utm_term,
        CASE WHEN amocrm_lead_id ~ '^[0-9]+$' AND amocrm_lead_id::numeric <= 9223372036854775807
            THEN amocrm_lead_id::numeric END AS t_amocrm_lead_id,
        CASE WHEN amocrm_contact_id ~ '^[0-9]+$' AND amocrm_contact_id::numeric <= 9223372036854775807
            THEN amocrm_contact_id::numeric END AS t_amocrm_contact_id
    FROM lead
)
SELECT id, (jsonb_build_object(
    'email', email,
    'name', name,
    'phone', phone,
    'metadata', metadata::text,
    'amocrm_synced', amocrm_synced::text,
    'email_clicked_at', email_clicked_at::text,
    'sms_clicked_at', sms_clicked_at::text,
    'created_at', created_at::text,
    'updated_at', updated_at::text,
    'phone_normalized', translate(phone, translate(phone, '0123456789+', ''), ''),
    'source', left(t_source, (lim ->> 'source')::integer),
    'landing_source', source,
    'landing_amocrm_lead_id', amocrm_lead_id,
    'landing_amocrm_contact_id', amocrm_contact_id,
    'landing_phone_normalized', phone_normalized,
    'landing_utm_source', utm_source,
    'landing_utm_medium', utm_medium,
    'landing_utm_campaign', utm_campaign,
    'landing_utm_content', utm_content,
    'landing_utm_term', utm_term,
    'utm_source', left(t_utm_source, (lim ->> 'utm_source')::integer),
    'utm_medium', left(t_utm_medium, (lim ->> 'utm_medium')::integer),
    'utm_campaign', left(t_utm_campaign, (lim ->> 'utm_campaign')::integer),
    'utm_content', left(t_utm_content, (lim ->> 'utm_content')::integer),
    'utm_term', left(t_utm_term, (lim ->> 'utm_term')::integer),
    'funnel_type', t_funnel_type,
    'amocrm_lead_id', t_amocrm_lead_id::text,
    'amocrm_contact_id', t_amocrm_contact_id::text,
    'email_sent', coalesce(email_sent, false)::text,
    'sms_sent', coalesce(sms_sent, false)::text,
    'email_clicked', coalesce(email_clicked, false)::text,
    'sms_clicked', coalesce(sms_clicked, false)::text,
    'click_count', coalesce(click_count, 0)::text
) || jsonb_strip_nulls(jsonb_build_object(
    'fb_lead_id', left(metadata ->> 'fb_lead_id', (lim ->> 'fb_lead_id')::integer),
    'fb_form_id', left(metadata ->> 'fb_form_id', (lim ->> 'fb_form_id')::integer),
    'fb_ad_id', left(metadata ->> 'fb_ad_id', (lim ->> 'fb_ad_id')::integer),
    'fb_adset_id', left(metadata ->> 'fb_adset_id', (lim ->> 'fb_adset_id')::integer),
    'fb_campaign_id', left(metadata ->> 'fb_campaign_id', (lim ->> 'fb_campaign_id')::integer)
)))::text,
jsonb_strip_nulls(jsonb_build_object(
    'amocrm_lead_id', CASE WHEN amocrm_lead_id <> '' AND t_amocrm_lead_id IS NULL THEN amocrm_lead_id END,
    'amocrm_contact_id',
        CASE WHEN amocrm_contact_id <> '' AND t_amocrm_contact_id IS NULL THEN amocrm_contact_id END,
    'funnel_type', CASE WHEN metadata ->> 'funnel_type' NOT IN ('', 'express', 'challenge3d', 'intensive1d')
        THEN metadata ->> 'funnel_type' END,
    'source', CASE WHEN length(t_source) > (lim ->> 'source')::integer THEN t_source END,
    'utm_source', CASE WHEN length(t_utm_source) > (lim ->> 'utm_source')::integer THEN t_utm_source END,
    'utm_medium', CASE WHEN length(t_utm_medium) > (lim ->> 'utm_medium')::integer THEN t_utm_medium END,
    'utm_campaign', CASE WHEN length(t_utm_campaign) > (lim ->> 'utm_campaign')::integer THEN t_utm_campaign END,
    'utm_content', CASE WHEN length(t_utm_content) > (lim ->> 'utm_content')::integer THEN t_utm_content END,
    'utm_term', CASE WHEN length(t_utm_term) > (lim ->> 'utm_term')::integer THEN t_utm_term END
) || (
    SELECT coalesce(jsonb_object_agg(key, metadata ->> key), '{}')
    FROM unnest(ARRAY['fb_lead_id', 'fb_form_id', 'fb_ad_id', 'fb_adset_id', 'fb_campaign_id']) AS key
    WHERE length(metadata ->> key) > (lim ->> key)::integer
))::text,
coalesce(length(email) > (lim ->> 'email')::integer, false)
    OR length(name) > (lim ->> 'name')::integer OR length(phone) > (lim ->> 'phone')::integer
FROM derived
