-- Functions of the session, with which a migration makes functions and views under names that may be taken. The
-- migration defines pg_temp.leadbridge_wanted(): the objects in the order of creation, each with
--   kind, name          `function` or `view`, and the name in Traffic's schema;
--   arguments, returns  a function's types, and the names of its parameters where a caller may use them;
--   fewest, most        with how many arguments the function is called: a function of the same name that accepts as many
--                       would be called in its place;
--   source              the statement that makes the object;
--   clearing            the statements that take the object away, for the SQL that puts another object back.

-- What stands under the wanted name. `fingerprint` changes with the definition.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_present(kind text, wanted text, fewest int, most int)
    RETURNS TABLE (class oid, object oid, identity text, species text, owner oid, acl aclitem[], fingerprint text)
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT 'pg_class'::regclass::oid, c.oid, format('%I.%I', n.nspname, c.relname),
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
               WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' ELSE 'relation' END,
           c.relowner, coalesce(c.relacl, acldefault('r', c.relowner)),
           md5(CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END || coalesce(c.reloptions::text, ''))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE kind = 'view' AND n.nspname = {{traffic_name}} AND c.relname = wanted
    UNION ALL
    SELECT 'pg_proc'::regclass::oid, p.oid, p.oid::regprocedure::text,
           CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' ELSE 'aggregate' END,
           p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)),
           md5(CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) END)
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE kind = 'function' AND n.nspname = {{traffic_name}} AND p.proname = wanted
        AND p.pronargs - p.pronargdefaults <= most AND (p.pronargs >= fewest OR p.provariadic <> 0)
$function$;

-- Whether leadbridge has made the object as it is. An installation from before the record `made` has made four objects.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_is_made(object text, present text) RETURNS boolean
    LANGUAGE plpgsql
    AS $function$
DECLARE
    made boolean := false;
BEGIN
    IF to_regclass('{{schema}}.made') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM {{schema}}.made AS m WHERE m.object = $1 AND m.fingerprint = $2)'
        INTO made USING object, present;
    ELSIF to_regclass('{{schema}}.migrations') IS NOT NULL AND object = ANY (ARRAY[
        format('%I.normalize_phone(text)', {{traffic_name}}),
        format('%I.find_or_create_unified_lead(text,text,text,text,jsonb)', {{traffic_name}}),
        format('%I.v_traffic_leads_with_journey', {{traffic_name}}),
        format('%I.v_traffic_leads_last_stage', {{traffic_name}})
    ]) THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM {{schema}}.migrations AS m WHERE m.name = ''016_unified_leads'')' INTO made;
    END IF;
    RETURN made;
END
$function$;

CREATE OR REPLACE FUNCTION pg_temp.leadbridge_made_from(object text) RETURNS text
    LANGUAGE plpgsql
    AS $function$
DECLARE
    source text;
BEGIN
    IF to_regclass('{{schema}}.made') IS NOT NULL THEN
        EXECUTE 'SELECT m.source FROM {{schema}}.made AS m WHERE m.object = $1' INTO source USING object;
    END IF;
    RETURN source;
END
$function$;

-- Whether CREATE OR REPLACE takes the wanted function in the place of the present one. Names of parameters cannot change,
-- nor the result, and a default cannot go.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_fits(present oid, wanted jsonb) RETURNS boolean
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT p.prokind = 'f' AND NOT p.proretset AND p.proallargtypes IS NULL AND p.provariadic = 0
        AND p.oid::regprocedure = to_regprocedure(wanted ->> 'identity') AND p.prorettype = to_regtype(wanted ->> 'returns')
        AND p.pronargdefaults <= (wanted ->> 'most')::int - (wanted ->> 'fewest')::int
        AND (wanted -> 'parameters' = 'null' OR to_jsonb(p.proargnames) = wanted -> 'parameters')
    FROM pg_proc AS p WHERE p.oid = present
$function$;

-- The statements that give an object exactly these grants, beside its owner's rights.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_grants(class oid, identity text, acl aclitem[], owner oid) RETURNS text
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT format($grants$
DO $acl$
DECLARE
    holder oid;
BEGIN
    FOR holder IN
        SELECT DISTINCT x.grantee
        FROM pg_catalog.%2$I AS o, pg_catalog.aclexplode(coalesce(o.%3$I, pg_catalog.acldefault(%4$L, o.%5$I))) AS x
        WHERE o.oid = %6$L::pg_catalog.%7$I AND x.grantee <> o.%5$I
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %8$s %1$s FROM %%s', CASE holder WHEN 0 THEN 'PUBLIC'
            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(holder)) END);
    END LOOP;
END
$acl$;
$grants$, identity, g.catalog, g.acl, g.letter, g.owner, identity, g.type, g.word)
        || coalesce((
            SELECT string_agg(format('GRANT %s ON %s %s TO %s%s;', x.privilege_type, g.word, identity,
                CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
                CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), E'\n'
                ORDER BY x.grantee, x.privilege_type)
            FROM (SELECT DISTINCT e.grantee, e.privilege_type, e.is_grantable
                  FROM aclexplode(leadbridge_grants.acl) AS e WHERE e.grantee <> leadbridge_grants.owner) AS x), '')
    FROM (VALUES
        ('pg_class'::regclass::oid, 'pg_class', 'relacl', 'r', 'relowner', 'regclass', 'TABLE'),
        ('pg_proc'::regclass::oid, 'pg_proc', 'proacl', 'f', 'proowner', 'regprocedure', 'ROUTINE')
    ) AS g (class, catalog, acl, letter, owner, type, word)
    WHERE g.class = leadbridge_grants.class
$function$;

-- The grants on columns of a view.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_column_grants(relation oid)
    RETURNS TABLE (column_name text, statement text)
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT a.attname::text, format('GRANT %s (%I) ON TABLE %s TO %s%s;', x.privilege_type, a.attname, relation::regclass,
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
        CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_attribute AS a, aclexplode(a.attacl) AS x
    WHERE a.attrelid = relation AND a.attnum > 0 ORDER BY a.attnum, x.grantee, x.privilege_type
$function$;

-- The statements that put a view or a function back.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_definition(class oid, object oid) RETURNS text
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT format(E'CREATE VIEW %s%s AS\n%s\n', i.identity,
            ' WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid))
        || coalesce((SELECT string_agg(format(E'ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s;\n', i.identity, a.attname,
                pg_get_expr(d.adbin, d.adrelid)), '' ORDER BY a.attnum)
            FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
            WHERE d.adrelid = c.oid), '')
        || coalesce((SELECT string_agg(pg_get_ruledef(r.oid) || E'\n', '' ORDER BY r.rulename)
            FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.ev_type <> '1'), '')
        || coalesce((SELECT string_agg(pg_get_triggerdef(t.oid) || E';\n', '' ORDER BY t.tgname)
            FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), '')
        || format(E'ALTER VIEW %s OWNER TO %I;\n', i.identity, pg_get_userbyid(c.relowner))
        || coalesce(format(E'COMMENT ON VIEW %s IS %L;\n', i.identity, obj_description(c.oid, 'pg_class')), '')
        || coalesce((SELECT string_agg(format(E'COMMENT ON COLUMN %s.%I IS %L;\n', i.identity, a.attname,
                col_description(c.oid, a.attnum)), '' ORDER BY a.attnum)
            FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NOT NULL), '')
        || pg_temp.leadbridge_grants(class, i.identity, coalesce(c.relacl, acldefault('r', c.relowner)), c.relowner)
        || coalesce((SELECT string_agg(E'\n' || g.statement, '') FROM pg_temp.leadbridge_column_grants(c.oid) AS g), '')
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (SELECT format('%I.%I', n.nspname, c.relname) AS identity) AS i
    WHERE class = 'pg_class'::regclass AND c.oid = object
    UNION ALL
    SELECT pg_get_functiondef(p.oid) || format(E';\nALTER ROUTINE %s OWNER TO %I;\n', i.identity, pg_get_userbyid(p.proowner))
        || coalesce(format(E'COMMENT ON ROUTINE %s IS %L;\n', i.identity, obj_description(p.oid, 'pg_proc')), '')
        || pg_temp.leadbridge_grants(class, i.identity, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner)
    FROM pg_proc AS p
    CROSS JOIN LATERAL (SELECT p.oid::regprocedure::text AS identity) AS i
    WHERE class = 'pg_proc'::regclass AND p.oid = object
$function$;

-- What depends on an object, each with what an operator does. Parts of the object itself are no dependents, nor are the
-- objects of `leaving`, which go with the object.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_dependents(class oid, object oid, leaving oid[])
    RETURNS TABLE (what text, class_of oid, id oid)
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    AS $function$
    SELECT DISTINCT coalesce(
               CASE r.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' ELSE 'rule on ' END
                   || r.oid::regclass::text,
               pg_describe_object(d.classid, d.objid, d.objsubid)),
           d.classid, coalesce(r.oid, d.objid)
    FROM pg_depend AS d
    LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
    LEFT JOIN pg_class AS r ON r.oid = w.ev_class
    WHERE d.deptype IN ('n', 'a')
        AND ((d.refclassid, d.refobjid) = (class, object)
            OR class = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass AND d.refobjid IN (
                SELECT t.oid FROM pg_class AS c JOIN pg_type AS t ON t.oid = c.reltype OR t.typelem = c.reltype
                WHERE c.oid = object AND c.reltype <> 0))
        AND coalesce(r.oid, d.objid) <> ALL (leaving || object)
        AND NOT (d.classid = 'pg_trigger'::regclass AND EXISTS (
            SELECT FROM pg_trigger AS t WHERE t.oid = d.objid AND t.tgrelid = ANY (leaving || object)))
        AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (
            SELECT FROM pg_attrdef AS a WHERE a.oid = d.objid AND a.adrelid = ANY (leaving || object)))
$function$;

-- Refuses what cannot be replaced. `fate` says what becomes of the present object: `drop` or `in place`.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_judge() RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    p record;
    dependent record;
    leaving oid[] := (SELECT coalesce(array_agg(object), '{}') FROM pg_temp.leadbridge_decisions WHERE fate = 'drop');
BEGIN
    FOR p IN SELECT * FROM pg_temp.leadbridge_decisions WHERE fate <> 'keep' ORDER BY position LOOP
        IF p.species NOT IN ('view', 'function', 'procedure') THEN
            PERFORM pg_temp.leadbridge_refuse(
                format('%s is the name of a %s, and leadbridge makes a %s of this name', p.identity, p.species, p.kind),
                format('rename the %s, and run `leadbridge migrate` again', p.species));
            CONTINUE;
        END IF;
        IF EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = p.class AND d.objid = p.object AND d.deptype = 'e') THEN
            PERFORM pg_temp.leadbridge_refuse(
                format('the %s %s belongs to an extension', p.species, p.identity),
                'move the extension to another schema (ALTER EXTENSION … SET SCHEMA), and run `leadbridge migrate` again');
        END IF;
        IF NOT pg_catalog.pg_has_role(p.owner, 'USAGE') THEN
            PERFORM pg_temp.leadbridge_refuse(
                format('the %s %s belongs to the role %I, and must be replaced', p.species, p.identity,
                       pg_catalog.pg_get_userbyid(p.owner)),
                format('run on Traffic: ALTER %s %s OWNER TO %I; or run `leadbridge migrate` as a member of the role',
                       CASE p.species WHEN 'view' THEN 'VIEW' ELSE 'ROUTINE' END, p.identity, current_user));
        END IF;
        CONTINUE WHEN p.fate <> 'drop';
        FOR dependent IN SELECT * FROM pg_temp.leadbridge_dependents(p.class, p.object, leaving) ORDER BY 1 LOOP
            PERFORM pg_temp.leadbridge_refuse(
                format('%s depends on the %s %s, which must be replaced', dependent.what, p.species, p.identity),
                format('keep the definition of the %s, drop it, run `leadbridge migrate` again, and create it again, with '
                       'the columns that the new %s has', dependent.what, p.kind));
        END LOOP;
    END LOOP;
END
$function$;

-- Names what must be made anew after a function has got another body in its place: stored results of the old body.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_stored(present oid, identity text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    dependent record;
BEGIN
    FOR dependent IN SELECT * FROM pg_temp.leadbridge_dependents('pg_catalog.pg_proc'::pg_catalog.regclass, present, '{}') LOOP
        IF dependent.class_of = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
            PERFORM pg_temp.leadbridge_note(format(
                '%s holds results of the earlier %s: REINDEX INDEX CONCURRENTLY %s', dependent.what, identity,
                (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = dependent.id)));
        ELSIF dependent.class_of IN ('pg_catalog.pg_attrdef'::pg_catalog.regclass, 'pg_catalog.pg_constraint'::pg_catalog.regclass) THEN
            PERFORM pg_temp.leadbridge_note(format(
                '%s was computed by the earlier %s: stored rows keep its results', dependent.what, identity));
        END IF;
    END LOOP;
END
$function$;

-- Decides for each object that stands under a wanted name: `keep`, `in place` or `drop`.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_decide() RETURNS void
    LANGUAGE plpgsql
    AS $function$
BEGIN
    DROP TABLE IF EXISTS pg_temp.leadbridge_decisions;
    CREATE TEMP TABLE leadbridge_decisions ON COMMIT DROP AS
    SELECT d.*,
        CASE WHEN d.object IS NULL THEN NULL
             WHEN d.identity = d.wanted ->> 'identity' AND d.is_made
                 AND pg_temp.leadbridge_made_from(d.identity) = pg_catalog.md5(d.wanted ->> 'source') THEN 'keep'
             WHEN d.species = 'function' AND pg_temp.leadbridge_fits(d.object, d.wanted) THEN 'in place'
             ELSE 'drop' END AS fate
    FROM (
        SELECT o.position, o.wanted ->> 'kind' AS kind, o.wanted, p.*,
               coalesce(pg_temp.leadbridge_is_made(p.identity, p.fingerprint), false) AS is_made,
               ARRAY(SELECT pg_catalog.to_jsonb(g) FROM pg_temp.leadbridge_column_grants(p.object) AS g) AS column_grants
        FROM (SELECT row_number() OVER () AS position, pg_catalog.to_jsonb(w) || jsonb_build_object('identity',
                  format('%I.%I', {{traffic_name}}, w.name) || coalesce('(' || w.arguments || ')', '')) AS wanted
              FROM pg_temp.leadbridge_wanted() AS w) AS o
        LEFT JOIN LATERAL pg_temp.leadbridge_present(o.wanted ->> 'kind', o.wanted ->> 'name',
            (o.wanted ->> 'fewest')::int, (o.wanted ->> 'most')::int) AS p ON true
    ) AS d;
END
$function$;

-- Keeps the definitions of another origin, then drops what must go. Views go first, because a view may call a function.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_clear(migration text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    p record;
    leaving record;
BEGIN
    -- Of several objects under one name, the first one's SQL takes leadbridge's away, where nothing of that name stays.
    FOR p IN SELECT d.*, NOT bool_or(d.fate IN ('in place', 'keep')) OVER one_name AND row_number() OVER in_order = 1 AS clears
             FROM pg_temp.leadbridge_decisions AS d WHERE d.object IS NOT NULL
             WINDOW one_name AS (PARTITION BY d.position),
                 in_order AS (PARTITION BY d.position ORDER BY d.identity = d.wanted ->> 'identity' DESC, d.identity)
             ORDER BY d.position, d.identity = d.wanted ->> 'identity' DESC, d.identity
    LOOP
        CONTINUE WHEN p.fate = 'keep' OR p.is_made OR p.species NOT IN ('view', 'function', 'procedure');
        PERFORM pg_temp.leadbridge_change(
            format('replaces %s %s of another origin; its definition is kept in {{schema}}.replaced', p.species, p.identity),
            format('INSERT INTO {{schema}}.replaced (kind, schema_name, name, definition, migration) '
                   'VALUES (%L, %L, %L, %L, %L)', p.species, {{traffic_name}}, p.identity,
                   CASE WHEN p.clears THEN (p.wanted ->> 'clearing') || E'\n' ELSE '' END
                   || pg_temp.leadbridge_definition(p.class, p.object), migration));
        IF p.fate = 'in place' THEN
            PERFORM pg_temp.leadbridge_stored(p.object, p.identity);
        END IF;
    END LOOP;
    FOR leaving IN
        SELECT d.kind, string_agg(d.identity, ', ') AS objects
        FROM pg_temp.leadbridge_decisions AS d WHERE d.fate = 'drop' GROUP BY d.kind ORDER BY d.kind DESC
    LOOP
        PERFORM pg_temp.leadbridge_run(
            format('DROP %s %s', CASE leaving.kind WHEN 'view' THEN 'VIEW' ELSE 'ROUTINE' END, leaving.objects));
    END LOOP;
END
$function$;

-- Makes one wanted object, gives it the grants of what was dropped in its favour, and records it.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_make_one(wanted jsonb, place bigint) RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    identity constant text := wanted ->> 'identity';
    earlier_grants aclitem[];
    parameter text;
    statements text;
    granted record;
BEGIN
    SELECT array_agg(a) INTO earlier_grants
    FROM pg_temp.leadbridge_decisions AS d, unnest(d.acl) AS a WHERE d.position = place AND d.fate = 'drop';
    SELECT p.proargnames[1] INTO parameter
    FROM pg_temp.leadbridge_decisions AS d JOIN pg_catalog.pg_proc AS p ON p.oid = d.object
    WHERE d.position = place AND d.fate = 'in place';
    statements := replace(wanted ->> 'source', '<<parameter>>', quote_ident(coalesce(nullif(parameter, ''), 'phone')));
    IF earlier_grants IS NOT NULL THEN
        statements := statements || E';\n' || pg_temp.leadbridge_grants(
            CASE wanted ->> 'kind' WHEN 'view' THEN 'pg_class' ELSE 'pg_proc' END::pg_catalog.regclass, identity,
            earlier_grants, (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user));
    END IF;
    PERFORM pg_temp.leadbridge_change(format('%s %s', wanted ->> 'kind', identity), statements);
    IF pg_temp.leadbridge_only_plans() THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT g ->> 'column_name' AS column_name, g ->> 'statement' AS statement
        FROM pg_temp.leadbridge_decisions AS d, unnest(d.column_grants) AS g WHERE d.position = place
    LOOP
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = to_regclass(identity) AND a.attname = granted.column_name AND NOT a.attisdropped);
        EXECUTE granted.statement;
    END LOOP;
    INSERT INTO {{schema}}.made (object, source, fingerprint)
    SELECT p.identity, md5(wanted ->> 'source'), p.fingerprint
    FROM pg_temp.leadbridge_present(wanted ->> 'kind', wanted ->> 'name', (wanted ->> 'fewest')::int, (wanted ->> 'most')::int) AS p
    WHERE p.identity = leadbridge_make_one.wanted ->> 'identity'
    ON CONFLICT (object) DO UPDATE
        SET source = excluded.source, fingerprint = excluded.fingerprint, made_at = now();
END
$function$;

-- Makes the wanted objects. Every definition of another origin is kept in the same transaction.
CREATE OR REPLACE FUNCTION pg_temp.leadbridge_make(migration text) RETURNS void
    LANGUAGE plpgsql
    AS $function$
DECLARE
    due record;
BEGIN
    PERFORM pg_temp.leadbridge_decide();
    PERFORM pg_temp.leadbridge_judge();
    PERFORM pg_temp.leadbridge_clear(migration);
    FOR due IN
        SELECT d.position, d.wanted FROM pg_temp.leadbridge_decisions AS d
        GROUP BY d.position, d.wanted HAVING bool_and(d.fate IS DISTINCT FROM 'keep') ORDER BY d.position
    LOOP
        PERFORM pg_temp.leadbridge_make_one(due.wanted, due.position);
    END LOOP;
END
$function$;
