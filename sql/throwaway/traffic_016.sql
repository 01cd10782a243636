-- The school's own Migration 016, beside the Traffic DB of traffic.sql: columns, a journey, functions, views and indexes
-- under names of the school's own choice, and what its dashboards read.
ALTER TABLE public.traffic_leads
    ADD COLUMN phone_normalized text,
    ADD COLUMN email_sent boolean DEFAULT false,
    ADD COLUMN sms_sent boolean DEFAULT false,
    ADD COLUMN email_clicked boolean DEFAULT false,
    ADD COLUMN sms_clicked boolean DEFAULT false,
    ADD COLUMN email_clicked_at timestamptz,
    ADD COLUMN sms_clicked_at timestamptz,
    ADD COLUMN click_count integer DEFAULT 0;
CREATE INDEX idx_traffic_leads_email ON public.traffic_leads (email);
CREATE INDEX idx_traffic_leads_phone_normalized ON public.traffic_leads (phone_normalized);

CREATE TABLE public.traffic_lead_journey (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lead_id uuid NOT NULL REFERENCES public.traffic_leads (id) ON DELETE CASCADE,
    stage text NOT NULL,
    source text,
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_traffic_lead_journey_lead_id ON public.traffic_lead_journey (lead_id, created_at DESC);
CREATE INDEX idx_traffic_lead_journey_stage ON public.traffic_lead_journey (stage);
CREATE INDEX idx_traffic_lead_journey_created_at ON public.traffic_lead_journey (created_at DESC);

CREATE FUNCTION public.normalize_phone(phone_input text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN regexp_replace(phone_input, '[^0-9+]', '', 'g');
END
$$;

CREATE FUNCTION public.find_or_create_unified_lead(
    p_email text, p_name text, p_phone text, p_source text DEFAULT 'twland', p_metadata jsonb DEFAULT '{}'
) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_lead uuid;
BEGIN
    SELECT id INTO v_lead FROM public.traffic_leads WHERE phone_normalized = public.normalize_phone(p_phone) LIMIT 1;
    IF v_lead IS NULL THEN
        INSERT INTO public.traffic_leads (email, name, phone, phone_normalized, source, metadata)
        VALUES (p_email, p_name, p_phone, public.normalize_phone(p_phone), p_source, p_metadata) RETURNING id INTO v_lead;
    END IF;
    RETURN v_lead;
END
$$;
COMMENT ON FUNCTION public.find_or_create_unified_lead(text, text, text, text, jsonb) IS 'one lead for one person';

CREATE VIEW public.v_traffic_leads_with_journey AS
SELECT l.id, l.name, l.email, l.phone, public.normalize_phone(l.phone) AS normalized, l.utm_source, u.full_name AS targetologist,
    (SELECT json_agg(json_build_object('stage', j.stage, 'at', j.created_at) ORDER BY j.created_at)
     FROM public.traffic_lead_journey AS j WHERE j.lead_id = l.id) AS journey
FROM public.traffic_leads AS l
LEFT JOIN public.traffic_user_utm_sources AS b ON b.utm_source = l.utm_source
LEFT JOIN public.traffic_users AS u ON u.id = b.user_id;
COMMENT ON VIEW public.v_traffic_leads_with_journey IS 'leads, with "their" journey';
COMMENT ON COLUMN public.v_traffic_leads_with_journey.normalized IS 'digits';

CREATE VIEW public.v_traffic_leads_last_stage WITH (security_barrier = true) AS
SELECT DISTINCT ON (lead_id) lead_id, stage AS last_stage, created_at AS last_stage_date
FROM public.traffic_lead_journey ORDER BY lead_id, created_at DESC;

-- A view of Migration 016 that reads another one.
CREATE VIEW public.v_leads_by_team_daily AS
SELECT date(now()) AS date, targetologist AS team_name, count(*) AS leads_count
FROM public.v_traffic_leads_with_journey GROUP BY targetologist;

CREATE VIEW public.v_leads_by_targetologist_daily AS
SELECT u.full_name AS targetologist, date(l.created_at) AS date, count(*) AS leads_count
FROM public.traffic_leads AS l
JOIN public.traffic_user_utm_sources AS b ON b.utm_source = l.utm_source
JOIN public.traffic_users AS u ON u.id = b.user_id
GROUP BY 1, 2;

CREATE VIEW public.v_top_utm_sources_by_leads AS
SELECT utm_source, count(*) AS total_leads FROM public.traffic_leads GROUP BY utm_source;
