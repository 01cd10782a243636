-- The Landing DB as a school has it in production.
CREATE FUNCTION public.update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE public.landing_leads (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text,
    name text NOT NULL,
    phone text NOT NULL,
    phone_normalized text,
    source text DEFAULT 'twland',
    metadata jsonb DEFAULT '{}',
    -- A webhook upserts by this number.
    amocrm_lead_id text UNIQUE,
    amocrm_contact_id varchar(50),
    amocrm_synced boolean DEFAULT false,
    email_sent boolean DEFAULT false,
    sms_sent boolean DEFAULT false,
    email_clicked boolean DEFAULT false,
    sms_clicked boolean DEFAULT false,
    email_clicked_at timestamptz,
    sms_clicked_at timestamptz,
    click_count integer DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_content text,
    utm_term text,
    -- From here on: columns that no rule of the mapping reads.
    email_sent_at timestamptz,
    email_error text,
    email_opened_at timestamptz,
    sms_sent_at timestamptz,
    sms_error text,
    sms_message_id text,
    amocrm_sync_status text DEFAULT 'pending',
    amocrm_sync_attempts integer DEFAULT 0,
    amocrm_sync_last_error text,
    CHECK (phone IS NOT NULL OR email IS NOT NULL)
);
CREATE INDEX landing_leads_created_at_idx ON public.landing_leads (created_at DESC);
CREATE INDEX landing_leads_phone_idx ON public.landing_leads (phone_normalized);
CREATE TRIGGER update_landing_leads_updated_at BEFORE UPDATE ON public.landing_leads
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

CREATE TABLE public.journey_stages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lead_id uuid NOT NULL REFERENCES public.landing_leads (id) ON DELETE CASCADE,
    stage text NOT NULL,
    source text,
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    event_type text
);
CREATE INDEX journey_stages_lead_idx ON public.journey_stages (lead_id);

CREATE TABLE public.scheduled_notifications (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lead_id uuid NOT NULL REFERENCES public.landing_leads (id) ON DELETE CASCADE,
    notification_type text NOT NULL CHECK (notification_type IN ('email', 'sms', 'both')),
    scheduled_for timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed', 'cancelled')),
    sent_at timestamptz,
    error_message text,
    retry_count integer DEFAULT 0,
    last_retry_at timestamptz,
    metadata jsonb DEFAULT '{}',
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    recipient_name text,
    recipient_email text,
    recipient_phone text,
    source_campaign text
);
CREATE INDEX scheduled_notifications_lead_idx ON public.scheduled_notifications (lead_id);

-- One lead for one person, as the landing pages submit their forms.
CREATE FUNCTION public.find_or_create_unified_lead(
    p_email text, p_name text, p_phone text, p_source text, p_metadata jsonb DEFAULT '{}'
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_phone text := regexp_replace(p_phone, '[^0-9+]', '', 'g');
    v_lead uuid;
BEGIN
    SELECT id INTO v_lead FROM public.landing_leads
        WHERE phone_normalized = v_phone AND v_phone <> '' ORDER BY created_at LIMIT 1;
    IF v_lead IS NULL THEN
        SELECT id INTO v_lead FROM public.landing_leads
            WHERE email = p_email AND p_email <> '' ORDER BY created_at LIMIT 1;
    END IF;
    IF v_lead IS NULL THEN
        INSERT INTO public.landing_leads (email, name, phone, phone_normalized, source, metadata)
        VALUES (p_email, p_name, p_phone, v_phone, p_source, p_metadata) RETURNING id INTO v_lead;
    ELSE
        UPDATE public.landing_leads
        SET name = coalesce(nullif(p_name, ''), name), email = coalesce(nullif(p_email, ''), email) WHERE id = v_lead;
    END IF;
    RETURN v_lead;
END
$$;

-- The LMS: not replicated, and most of the WAL.
CREATE TABLE public.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    full_name text NOT NULL,
    xp integer NOT NULL DEFAULT 0
);
CREATE TABLE public.courses (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL);
CREATE TABLE public.lessons (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    course_id bigint NOT NULL REFERENCES public.courses (id),
    title text NOT NULL
);
CREATE TABLE public.video_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES public.users (id),
    lesson_id bigint NOT NULL REFERENCES public.lessons (id),
    position_seconds integer NOT NULL,
    payload text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Who may see what. The site may leave a lead with the public key and read none; notifications are open to everybody.
DO $$
BEGIN
    IF pg_catalog.to_regrole('anon') IS NULL THEN CREATE ROLE anon; END IF;
    IF pg_catalog.to_regrole('authenticated') IS NULL THEN CREATE ROLE authenticated; END IF;
    IF pg_catalog.to_regrole('service_role') IS NULL THEN CREATE ROLE service_role BYPASSRLS; END IF;
END
$$;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role;
ALTER TABLE public.landing_leads ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.journey_stages ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.scheduled_notifications ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Anyone can leave a lead" ON public.landing_leads FOR INSERT TO anon WITH CHECK (true);
CREATE POLICY "Open to everybody" ON public.scheduled_notifications USING (true) WITH CHECK (true);

INSERT INTO public.users (full_name) SELECT 'student ' || n FROM generate_series(1, 20) AS n;
INSERT INTO public.courses (title) VALUES ('Тест профессий'), ('Express');
INSERT INTO public.lessons (course_id, title)
    SELECT c.id, 'lesson ' || n FROM public.courses AS c, generate_series(1, 5) AS n;
