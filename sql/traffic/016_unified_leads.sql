-- Migration 016: traffic_leads gets columns for Landing's data of a lead, and a table for the lead's journey.
--
-- Idempotent, and safe on the live database: new columns have constant defaults, so no table is rewritten, and
-- the migration requests a lock that blocks others only when an object is missing. Existing rows stay as they are.
-- Run the migration with a short lock_timeout.

-- The plan begins here.
DO $migration$
DECLARE
    leads constant text := '{{traffic}}.traffic_leads';
    journey constant text := '{{traffic}}.traffic_lead_journey';
    lacked boolean;
BEGIN
    -- 1. Columns.
    lacked := pg_temp.leadbridge_add_columns(leads, ARRAY[
        ['phone_normalized', 'text'],
        ['email_sent', 'boolean DEFAULT false'],
        ['sms_sent', 'boolean DEFAULT false'],
        ['email_clicked', 'boolean DEFAULT false'],
        ['sms_clicked', 'boolean DEFAULT false'],
        ['email_clicked_at', 'timestamptz'],
        ['sms_clicked_at', 'timestamptz'],
        ['click_count', 'integer DEFAULT 0'],
        ['amocrm_synced', 'boolean'],
        ['landing_source', 'text'],
        ['landing_amocrm_lead_id', 'text'],
        ['landing_amocrm_contact_id', 'text'],
        ['landing_phone_normalized', 'text'],
        ['landing_utm_source', 'text'],
        ['landing_utm_medium', 'text'],
        ['landing_utm_campaign', 'text'],
        ['landing_utm_content', 'text'],
        ['landing_utm_term', 'text'],
        ['landing_synced_at', 'timestamptz']
    ]);
    PERFORM pg_temp.leadbridge_comment(leads, 'landing_source', 'source as in the Landing DB');
    PERFORM pg_temp.leadbridge_comment(leads, 'landing_synced_at',
        'when the row last came from the Landing DB; null for leads born here');

    -- 2. The journey. A journey table of the school's own is completed.
    IF to_regclass(journey) IS NULL THEN
        PERFORM pg_temp.leadbridge_table(journey, $statement$
            CREATE TABLE {{traffic}}.traffic_lead_journey (
                id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                lead_id uuid NOT NULL REFERENCES {{traffic}}.traffic_leads (id) ON DELETE CASCADE,
                stage text NOT NULL,
                source text,
                metadata jsonb DEFAULT '{}',
                created_at timestamptz NOT NULL DEFAULT now(),
                landing_synced_at timestamptz
            )$statement$);
        lacked := true;
    ELSE
        lacked := pg_temp.leadbridge_add_columns(journey, ARRAY[
            ['source', 'text'],
            ['metadata', 'jsonb DEFAULT ''{}'''],
            ['created_at', 'timestamptz NOT NULL DEFAULT now()'],
            ['landing_synced_at', 'timestamptz']
        ]) OR lacked;
        PERFORM pg_temp.leadbridge_require_lead(journey, leads);
    END IF;
    PERFORM pg_temp.leadbridge_secure_rows(journey);
    IF lacked THEN
        PERFORM pg_temp.leadbridge_copy_again();
    END IF;

    -- The index by lead and time serves the foreign key too.
    PERFORM pg_temp.leadbridge_index(journey, 'stage_idx', 'stage');
    PERFORM pg_temp.leadbridge_index(journey, 'time_idx', 'created_at');
    PERFORM pg_temp.leadbridge_index(journey, 'lead_time_idx', 'lead_id, created_at');
    PERFORM pg_temp.leadbridge_index(leads, 'email_idx', 'email');
    PERFORM pg_temp.leadbridge_index(leads, 'phone_normalized_idx', 'phone_normalized');
END
$migration$;
