-- Scheduled notifications, created when the configuration switches notifications on. The table has the same shape as on
-- Landing, and no trigger: updated_at is Landing's.
DO $migration$
BEGIN
    IF to_regclass('{{traffic}}.traffic_scheduled_notifications') IS NULL THEN
        CREATE TABLE {{traffic}}.traffic_scheduled_notifications (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            lead_id uuid NOT NULL REFERENCES {{traffic}}.traffic_leads (id) ON DELETE CASCADE,
            notification_type text NOT NULL CHECK (notification_type IN ('email', 'sms', 'both')),
            scheduled_for timestamptz NOT NULL,
            status text NOT NULL DEFAULT 'pending'
                CHECK (status IN ('pending', 'sent', 'failed', 'cancelled')),
            sent_at timestamptz,
            error_message text,
            retry_count integer DEFAULT 0,
            last_retry_at timestamptz,
            metadata jsonb DEFAULT '{}',
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            landing_synced_at timestamptz
        );
        ALTER TABLE {{traffic}}.traffic_scheduled_notifications ENABLE ROW LEVEL SECURITY;
        -- A table that was dropped and is made again has lost its rows: the next start copies again.
        UPDATE {{schema}}.checkpoint SET state = 'snapshot'
        WHERE slot = {{slot_name}} AND state = 'streaming' AND published::jsonb #> '{tables,scheduled_notifications}' IS NOT NULL;
        -- Migration 020 publishes the existing tables; a table that is switched on later is added here.
        IF EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {{reverse_publication_name}}) THEN
            ALTER PUBLICATION {{reverse_publication}} ADD TABLE {{traffic}}.traffic_scheduled_notifications;
        END IF;
    END IF;
END
$migration$;

CREATE INDEX IF NOT EXISTS traffic_scheduled_notifications_lead_idx
    ON {{traffic}}.traffic_scheduled_notifications (lead_id);
CREATE INDEX IF NOT EXISTS traffic_scheduled_notifications_due_idx
    ON {{traffic}}.traffic_scheduled_notifications (scheduled_for) WHERE status = 'pending';
