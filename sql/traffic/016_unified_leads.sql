-- Migration 016: traffic_leads gets columns for Landing's data of a lead, and a table for the lead's journey.
--
-- Idempotent, and safe on the live database: new columns have constant defaults, so no table is rewritten, and
-- the migration requests a lock that blocks others only when an object is missing. Existing rows stay as they are.
-- Run the migration with a short lock_timeout.

-- 1. Columns. ADD COLUMN IF NOT EXISTS would take an exclusive lock even when no column is missing.
DO $migration$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(format('ADD COLUMN %I %s', wanted.name, wanted.definition), ', ')
    INTO missing
    FROM (VALUES
        ('phone_normalized', 'text'),
        ('email_sent', 'boolean DEFAULT false'),
        ('sms_sent', 'boolean DEFAULT false'),
        ('email_clicked', 'boolean DEFAULT false'),
        ('sms_clicked', 'boolean DEFAULT false'),
        ('email_clicked_at', 'timestamptz'),
        ('sms_clicked_at', 'timestamptz'),
        ('click_count', 'integer DEFAULT 0'),
        ('amocrm_synced', 'boolean'),
        ('landing_source', 'text'),
        ('landing_amocrm_lead_id', 'text'),
        ('landing_amocrm_contact_id', 'text'),
        ('landing_phone_normalized', 'text'),
        ('landing_utm_source', 'text'),
        ('landing_utm_medium', 'text'),
        ('landing_utm_campaign', 'text'),
        ('landing_utm_content', 'text'),
        ('landing_utm_term', 'text'),
        ('landing_synced_at', 'timestamptz')
    ) AS wanted (name, definition)
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = '{{traffic}}.traffic_leads'::pg_catalog.regclass
          AND a.attname = wanted.name AND NOT a.attisdropped
    );
    IF missing IS NOT NULL THEN
        EXECUTE 'ALTER TABLE {{traffic}}.traffic_leads ' || missing;
        -- Leads that have been replicated already lack values in the new columns: the next start copies again.
        IF to_regclass('{{schema}}.checkpoint') IS NOT NULL THEN
            UPDATE {{schema}}.checkpoint SET state = 'snapshot' WHERE state = 'streaming';
        END IF;
    END IF;
END
$migration$;

COMMENT ON COLUMN {{traffic}}.traffic_leads.landing_source IS 'source as in the Landing DB';
COMMENT ON COLUMN {{traffic}}.traffic_leads.landing_synced_at IS
    'when the row last came from the Landing DB; null for leads born here';

-- 2. The journey. Row-level security without a policy: journey entries, like leads, are for the service role until
-- the owner adds a policy.
DO $migration$
BEGIN
    IF to_regclass('{{traffic}}.traffic_lead_journey') IS NULL THEN
        CREATE TABLE {{traffic}}.traffic_lead_journey (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            lead_id uuid NOT NULL REFERENCES {{traffic}}.traffic_leads (id) ON DELETE CASCADE,
            stage text NOT NULL,
            source text,
            metadata jsonb DEFAULT '{}',
            created_at timestamptz NOT NULL DEFAULT now(),
            landing_synced_at timestamptz
        );
        ALTER TABLE {{traffic}}.traffic_lead_journey ENABLE ROW LEVEL SECURITY;
        -- A table that was dropped and is made again has lost its rows: the next start copies again.
        IF to_regclass('{{schema}}.checkpoint') IS NOT NULL THEN
            UPDATE {{schema}}.checkpoint SET state = 'snapshot' WHERE state = 'streaming';
        END IF;
    END IF;
END
$migration$;

-- Indexes, only missing ones: IF NOT EXISTS would lock the table before looking.
DO $migration$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('traffic_lead_journey', 'lead_idx', '(lead_id)'),
        ('traffic_lead_journey', 'stage_idx', '(stage)'),
        ('traffic_lead_journey', 'time_idx', '(created_at)'),
        ('traffic_lead_journey', 'lead_time_idx', '(lead_id, created_at)'),
        ('traffic_leads', 'email_idx', '(email)'),
        ('traffic_leads', 'phone_normalized_idx', '(phone_normalized)')
    ) AS i (relation, suffix, definition)
    LOOP
        CONTINUE WHEN to_regclass(
            format('{{traffic}}.%I', wanted.relation || '_' || wanted.suffix)) IS NOT NULL;
        EXECUTE format('CREATE INDEX %I ON {{traffic}}.%I %s', wanted.relation || '_' || wanted.suffix,
                       wanted.relation, wanted.definition);
    END LOOP;
END
$migration$;
