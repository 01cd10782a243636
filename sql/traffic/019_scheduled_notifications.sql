-- Scheduled notifications, created when the configuration switches notifications on. The table has the same shape as on
-- Landing, and no trigger: created_at and updated_at are Landing's, where both may be null. A table of the school's own is completed.
-- The plan begins here.
DO $migration$
DECLARE
    notifications constant text := '{{traffic}}.traffic_scheduled_notifications';
    lacked boolean := true;
    stamp name;
BEGIN
    IF to_regclass(notifications) IS NULL THEN
        PERFORM pg_temp.leadbridge_table(notifications, $statement$
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
            )$statement$);
    ELSE
        lacked := pg_temp.leadbridge_add_columns(notifications, ARRAY[
            ['status', 'text NOT NULL DEFAULT ''pending'''],
            ['sent_at', 'timestamptz'],
            ['error_message', 'text'],
            ['retry_count', 'integer DEFAULT 0'],
            ['last_retry_at', 'timestamptz'],
            ['metadata', 'jsonb DEFAULT ''{}'''],
            ['created_at', 'timestamptz DEFAULT now()'],
            ['updated_at', 'timestamptz DEFAULT now()'],
            ['landing_synced_at', 'timestamptz']
        ]);
        FOR stamp IN
            SELECT a.attname FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = to_regclass(notifications) AND a.attname IN ('created_at', 'updated_at')
                AND a.attnotnull AND NOT a.attisdropped
            ORDER BY a.attnum
        LOOP
            PERFORM pg_temp.leadbridge_change(
                format('nulls in column %s.%I', replace(notifications, '"', ''), stamp),
                format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', notifications, stamp));
        END LOOP;
        PERFORM pg_temp.leadbridge_require_lead(notifications, '{{traffic}}.traffic_leads');
    END IF;
    PERFORM pg_temp.leadbridge_secure_rows(notifications);
    IF lacked THEN
        PERFORM pg_temp.leadbridge_copy_again($condition$slot = {{slot_name}}
            AND published::jsonb #> '{tables,scheduled_notifications}' IS NOT NULL$condition$);
    END IF;
    PERFORM pg_temp.leadbridge_index(notifications, 'lead_idx', 'lead_id');
    PERFORM pg_temp.leadbridge_index(notifications, 'due_idx', 'scheduled_for', $condition$status = 'pending'$condition$);
END
$migration$;
