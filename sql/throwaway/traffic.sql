-- The Traffic DB as a school has it, before Migration 016.
CREATE FUNCTION public.update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE public.traffic_teams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE
);
CREATE TABLE public.traffic_users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    full_name text NOT NULL,
    team_name text CHECK (team_name IN ('Кенжи', 'Арыстан')),
    is_active boolean NOT NULL DEFAULT true
);
CREATE TABLE public.traffic_user_utm_sources (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES public.traffic_users (id) ON DELETE CASCADE,
    utm_source varchar(100) NOT NULL,
    funnel_type text NOT NULL CHECK (funnel_type IN ('express', 'challenge3d', 'intensive1d')),
    is_active boolean NOT NULL DEFAULT true,
    UNIQUE (utm_source, funnel_type)
);
CREATE TABLE public.traffic_weekly_plans (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES public.traffic_users (id) ON DELETE CASCADE,
    week_start date NOT NULL,
    leads_planned integer NOT NULL DEFAULT 0
);
CREATE TABLE public.traffic_ad_account_bindings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES public.traffic_users (id) ON DELETE CASCADE,
    fb_ad_account_id varchar(100) NOT NULL
);

CREATE TABLE public.traffic_leads (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    utm_source varchar(100),
    utm_medium varchar(100),
    utm_campaign varchar(255),
    utm_content varchar(255),
    utm_term varchar(255),
    funnel_type text CHECK (funnel_type IN ('express', 'challenge3d', 'intensive1d')),
    status varchar(50) DEFAULT 'new'
        CHECK (status IN ('new', 'contacted', 'qualified', 'converted', 'lost')),
    phone varchar(50),
    email varchar(255),
    name varchar(255),
    source varchar(50) DEFAULT 'facebook',
    fb_lead_id varchar(100),
    fb_form_id varchar(100),
    fb_ad_id varchar(100),
    fb_adset_id varchar(100),
    fb_campaign_id varchar(100),
    amocrm_lead_id bigint,
    amocrm_contact_id bigint,
    amocrm_pipeline_id bigint,
    amocrm_status_id bigint,
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT timezone('utc', now()),
    updated_at timestamptz NOT NULL DEFAULT timezone('utc', now())
);
CREATE INDEX idx_traffic_leads_utm_source ON public.traffic_leads (utm_source);
CREATE INDEX idx_traffic_leads_funnel_type ON public.traffic_leads (funnel_type);
CREATE INDEX idx_traffic_leads_status ON public.traffic_leads (status);
CREATE INDEX idx_traffic_leads_created_at ON public.traffic_leads (created_at DESC);
CREATE INDEX idx_traffic_leads_fb_lead_id ON public.traffic_leads (fb_lead_id);
CREATE INDEX idx_traffic_leads_amocrm_lead_id ON public.traffic_leads (amocrm_lead_id);
CREATE TRIGGER update_traffic_leads_updated_at BEFORE UPDATE ON public.traffic_leads
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

CREATE TABLE public.traffic_sales (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lead_id uuid REFERENCES public.traffic_leads (id) ON DELETE SET NULL,
    amount numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.challenge3d_sales (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lead_id uuid REFERENCES public.traffic_leads (id) ON DELETE SET NULL,
    amount numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.facebook_ad_spend (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    fb_campaign_id varchar(100) NOT NULL,
    spend numeric(12, 2) NOT NULL,
    day date NOT NULL
);

-- Row-level security is on, and the service role alone has rights on the tables.
DO $$
BEGIN
    IF pg_catalog.to_regrole('anon') IS NULL THEN CREATE ROLE anon; END IF;
    IF pg_catalog.to_regrole('authenticated') IS NULL THEN CREATE ROLE authenticated; END IF;
    IF pg_catalog.to_regrole('service_role') IS NULL THEN CREATE ROLE service_role BYPASSRLS; END IF;
END
$$;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
GRANT ALL ON ALL TABLES IN SCHEMA public TO service_role;
ALTER TABLE public.traffic_leads ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.traffic_sales ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.challenge3d_sales ENABLE ROW LEVEL SECURITY;

INSERT INTO public.traffic_teams (name) VALUES ('Кенжи'), ('Арыстан');
INSERT INTO public.traffic_users (full_name, team_name, is_active) VALUES
    ('Kenji', 'Кенжи', true), ('Alex', 'Кенжи', true), ('Arystan', 'Арыстан', true),
    ('Gone', 'Арыстан', false);
INSERT INTO public.traffic_user_utm_sources (user_id, utm_source, funnel_type, is_active)
SELECT u.id, b.utm_source, b.funnel_type, b.is_active
FROM (VALUES
    ('Kenji', 'KenjiFB', 'express', true),
    ('Kenji', 'kenjifb', 'challenge3d', true),
    ('Alex', 'alex_fb', 'challenge3d', true),
    ('Alex', 'alex_fb', 'express', false),
    ('Arystan', 'arystan_TikTok', 'express', true),
    ('Gone', 'google_ads', 'express', true)
) AS b (full_name, utm_source, funnel_type, is_active)
JOIN public.traffic_users AS u USING (full_name);
