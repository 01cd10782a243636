-- Tries each write as its role, each in a subtransaction that is rolled back, and leaves the outcomes as JSON in the setting
-- `leadbridge.tried` (`migrate::trial`). The rows for UPDATE and DELETE are made by the session's own role.
DECLARE
    attempt record;
    outcomes jsonb := '[]';
    cursor_of_row refcursor := 'leadbridge_trial';
    present record;
    lacking text;
    own_path text := current_setting('search_path');
    path text;
    touched bigint;
    state text;
    said text;
    place text;
    base_state text := '';
    base_said text := '';
    base_place text := '';
BEGIN
    SET LOCAL row_security = on;
    SET CONSTRAINTS ALL IMMEDIATE;
    BEGIN
        PERFORM pg_catalog.set_config('search_path', '"$user", public', true);
{{rows}}        PERFORM pg_catalog.set_config('search_path', own_path, true);
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN RAISE;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS base_state = RETURNED_SQLSTATE, base_said = MESSAGE_TEXT,
                base_place = PG_EXCEPTION_CONTEXT;
    END;
    FOR attempt IN
        SELECT a ->> 'role' AS role, a ->> 'statement' AS statement, a ->> 'target' AS target,
               a ->> 'table' AS of_table, (a ->> 'calls_indexes')::boolean AS calls_indexes
        FROM jsonb_array_elements({{attempts}}::jsonb) WITH ORDINALITY AS x (a, at) ORDER BY at
    LOOP
        touched := 0; state := ''; said := ''; place := '';
        -- A function of the school may rely on the path with which the role's sessions begin.
        SELECT substr(c, length('search_path=') + 1) INTO path
        FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
        WHERE starts_with(c, 'search_path=') AND s.setrole IN (0, to_regrole(quote_ident(attempt.role)))
            AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
        ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1;
        IF attempt.target IS NOT NULL AND base_state <> '' THEN
            state := base_state; said := base_said; place := base_place;
        ELSE
        BEGIN
            IF attempt.target IS NOT NULL THEN
                OPEN cursor_of_row FOR EXECUTE attempt.target;
                FETCH cursor_of_row INTO present;
            END IF;
            EXECUTE format('SET LOCAL ROLE %I', attempt.role);
            PERFORM pg_catalog.set_config('search_path', coalesce(path, '"$user", public'), true);
            EXECUTE attempt.statement;
            GET DIAGNOSTICS touched = ROW_COUNT;
            RAISE SQLSTATE 'LB000';
        EXCEPTION
            WHEN SQLSTATE 'LB000' THEN NULL;
            WHEN lock_not_available OR deadlock_detected THEN RAISE;
            WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, place = PG_EXCEPTION_CONTEXT;
        END;
        END IF;
        -- The session may have simplified an index's expression with the rights of the role that used the index first, so that
        -- EXECUTE was not checked: a session of the role's own checks EXECUTE.
        SELECT p.oid::regprocedure::text INTO lacking
        FROM pg_index AS i
        JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid = 'pg_proc'::regclass
        JOIN pg_proc AS p ON p.oid = d.refobjid
        WHERE i.indrelid = to_regclass(attempt.of_table) AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
            AND NOT has_function_privilege(to_regrole(quote_ident(attempt.role)), p.oid, 'EXECUTE')
        LIMIT 1;
        IF state = '' AND touched > 0 AND attempt.calls_indexes AND lacking IS NOT NULL THEN
            touched := 0; state := '42501'; said := format('permission denied for function %s', lacking);
        END IF;
        outcomes := outcomes || jsonb_build_object(
            'touched', touched, 'state', state, 'message', said, 'context', place);
    END LOOP;
    PERFORM set_config('leadbridge.tried', outcomes::text, true);
END
