-- For a role that may not set session_replication_role: the user-defined BEFORE UPDATE trigger stamps updated_at with
-- now(), but a replicated row keeps Landing's updated_at. The first trigger records the value, the last trigger restores
-- the value, because PostgreSQL fires triggers of one kind in the order of their names. Both triggers act only in a
-- transaction with `leadbridge.applying = on`, so updates of other sessions do not change.

-- to_json's form of a time is the same under every DateStyle and exact.
CREATE OR REPLACE FUNCTION {{schema}}.remember_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM set_config('leadbridge.updated_at', coalesce(to_json(NEW.updated_at) #>> '{}', ''), true);
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION {{schema}}.keep_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    NEW.updated_at := nullif(current_setting('leadbridge.updated_at', true), '')::timestamptz;
    RETURN NEW;
END
$function$;

-- The plan begins here.
-- Only a missing trigger is created, because CREATE TRIGGER locks the table. traffic_scheduled_notifications needs the
-- pair only beside a user-defined BEFORE UPDATE trigger.
DO $migration$
DECLARE
    target regclass;
    pair record;
    called oid;
    outside record;
BEGIN
    FOREACH target IN ARRAY array_remove(ARRAY[
        to_regclass('{{traffic}}.traffic_leads'), to_regclass('{{traffic}}.traffic_scheduled_notifications')
    ], NULL)
    LOOP
        -- tgtype: 1 row, 2 before, 16 update.
        CONTINUE WHEN target = to_regclass('{{traffic}}.traffic_scheduled_notifications') AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = target AND NOT t.tgisinternal AND t.tgtype & 19 = 19
        );
        FOR pair IN SELECT * FROM (VALUES
            ('!leadbridge_remember_updated_at', 'remember_updated_at'),
            ('~leadbridge_keep_updated_at', 'keep_updated_at')
        ) AS p (name, function)
        LOOP
            SELECT t.tgfoid INTO called FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = target AND t.tgname = pair.name;
            IF FOUND THEN
                IF called IS DISTINCT FROM to_regprocedure(format('{{schema}}.%I()', pair.function))::oid THEN
                    PERFORM pg_temp.leadbridge_refuse(
                        format('the trigger %I on %s calls a function that is not leadbridge''s', pair.name, target),
                        'find out who has made the trigger, drop it, and run `leadbridge migrate` again');
                END IF;
                CONTINUE;
            END IF;
            PERFORM pg_temp.leadbridge_change(format('trigger %I on %s', pair.name, target), format(
                'CREATE TRIGGER %I BEFORE UPDATE ON %s FOR EACH ROW '
                'WHEN (pg_catalog.current_setting(''leadbridge.applying'', true) = ''on'') '
                'EXECUTE FUNCTION {{schema}}.%I()', pair.name, target, pair.function));
        END LOOP;

        FOR outside IN
            SELECT t.tgname FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = target AND NOT t.tgisinternal AND t.tgtype & 19 = 19
                AND (t.tgname < '!leadbridge_remember_updated_at' OR t.tgname > '~leadbridge_keep_updated_at')
        LOOP
            PERFORM pg_temp.leadbridge_refuse(
                format('the trigger %I on %s sorts outside of leadbridge''s pair', outside.tgname, target),
                'rename the trigger so that its name sorts between "!leadbridge" and "~leadbridge"');
        END LOOP;
    END LOOP;
END
$migration$;
