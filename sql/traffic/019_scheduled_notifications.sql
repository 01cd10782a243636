-- Scheduled notifications, created when the configuration switches notifications on. The table has the same shape as on
-- Landing, and no trigger: created_at and updated_at are Landing's, where both may be null.
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
            created_at timestamptz DEFAULT now(),
            updated_at timestamptz DEFAULT now(),
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

-- A table of an older version. The catalog is asked first, because ALTER TABLE would make writers wait each time.
DO $nullable$
DECLARE
    stamp name;
BEGIN
    FOR stamp IN SELECT attname FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('{{traffic}}.traffic_scheduled_notifications')
            AND attname IN ('created_at', 'updated_at') AND attnotnull AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE {{traffic}}.traffic_scheduled_notifications ALTER COLUMN %I DROP NOT NULL', stamp);
    END LOOP;
END
$nullable$;

CREATE INDEX IF NOT EXISTS traffic_scheduled_notifications_lead_idx
    ON {{traffic}}.traffic_scheduled_notifications (lead_id);
CREATE INDEX IF NOT EXISTS traffic_scheduled_notifications_due_idx
    ON {{traffic}}.traffic_scheduled_notifications (scheduled_for) WHERE status = 'pending';
