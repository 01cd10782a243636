-- The form of every object in one schema: a row for each object, column, constraint, index, trigger, rule and policy, and
-- for each object elsewhere that is bound to a table of the schema. The text of an object names the schema nowhere where
-- PostgreSQL prints the text, so that two schemas with the same objects give the same rows. {{space}}: the schema's oid.
-- Row-level security that is switched on is no difference: a platform switches it on for every new table, and other checks
-- name a role that it binds. A policy is a difference.
WITH space AS (
    SELECT n.oid, pg_catalog.quote_ident(n.nspname) || '.' AS prefix FROM pg_catalog.pg_namespace AS n
    WHERE n.oid = {{space}}
),
relations AS (
    SELECT c.*, pg_catalog.quote_ident(c.relname) AS name, s.prefix
    FROM space AS s JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
),
functions AS (
    SELECT p.*, pg_catalog.format('%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS name, s.prefix
    FROM space AS s JOIN pg_catalog.pg_proc AS p ON p.pronamespace = s.oid
),
found (object, definition, prefix) AS (
    -- Whatever else a schema can hold: types, operators, collations, dictionaries, statistics.
    SELECT i.type || ' ' || i.identity, '', s.prefix
    FROM space AS s
    JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = s.oid
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) AS i
    WHERE d.classid NOT IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
        'pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_constraint'::pg_catalog.regclass)
    UNION ALL
    SELECT CASE r.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
               WHEN 'S' THEN 'sequence ' WHEN 'c' THEN 'type ' ELSE 'table ' END || r.prefix || r.name,
           pg_catalog.concat_ws(' ', r.relkind, CASE r.relpersistence WHEN 'u' THEN 'unlogged' END, r.relispartition, r.relreplident,
               (SELECT m.amname FROM pg_catalog.pg_am AS m WHERE m.oid = r.relam),
               CASE WHEN r.relkind IN ('v', 'm') THEN pg_catalog.concat(r.reloptions::text, pg_catalog.pg_get_viewdef(r.oid)) END,
               (SELECT pg_catalog.concat_ws(' ', q.seqtypid::pg_catalog.regtype, q.seqstart, q.seqincrement, q.seqmin,
                                            q.seqmax, q.seqcycle)
                FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = r.oid)), r.prefix
    FROM relations AS r
    UNION ALL
    SELECT pg_catalog.format('column %s%s.%I', r.prefix, r.name, a.attname),
           pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
               CASE WHEN a.attnotnull THEN 'not null' END, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
               nullif(a.attidentity, ''), nullif(a.attgenerated, ''), l.collname), r.prefix
    FROM relations AS r
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation AND l.collname <> 'default'
    WHERE r.relkind <> 'S'
    UNION ALL
    -- PostgreSQL 18 has a constraint for each column that is NOT NULL; the column says so already.
    SELECT pg_catalog.format('constraint %I on %s%s', k.conname, r.prefix, r.name),
           pg_catalog.pg_get_constraintdef(k.oid), r.prefix
    FROM relations AS r JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid AND k.contype NOT IN ('n', 't')
    UNION ALL
    SELECT pg_catalog.format('index %s%I', r.prefix, x.relname),
           pg_catalog.concat_ws(' ', pg_catalog.pg_get_indexdef(x.oid), i.indisvalid, i.indisready), r.prefix
    FROM relations AS r
    JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    UNION ALL
    SELECT pg_catalog.format('trigger %I on %s%s', t.tgname, r.prefix, r.name),
           pg_catalog.concat_ws(' ', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled), r.prefix
    FROM relations AS r
    JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid AND (NOT t.tgisinternal OR t.tgenabled <> 'O')
    UNION ALL
    SELECT pg_catalog.format('rule %I on %s%s', w.rulename, r.prefix, r.name), pg_catalog.pg_get_ruledef(w.oid), r.prefix
    FROM relations AS r
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid AND NOT (w.rulename = '_RETURN' AND r.relkind IN ('v', 'm'))
    UNION ALL
    SELECT pg_catalog.format('policy %I on %s%s', p.polname, r.prefix, r.name), '', r.prefix
    FROM relations AS r JOIN pg_catalog.pg_policy AS p ON p.polrelid = r.oid
    UNION ALL
    -- A reference or a child elsewhere puts a trigger on the table, or rows into it.
    SELECT pg_catalog.format('constraint %I on %s', k.conname, k.conrelid::pg_catalog.regclass), '', r.prefix
    FROM relations AS r
    JOIN pg_catalog.pg_constraint AS k ON k.confrelid = r.oid AND k.conrelid NOT IN (SELECT o.oid FROM relations AS o)
    UNION ALL
    SELECT pg_catalog.format('table %s, a child of %s%s', h.inhrelid::pg_catalog.regclass, r.prefix, r.name), '', r.prefix
    FROM relations AS r JOIN pg_catalog.pg_inherits AS h ON h.inhparent = r.oid
    UNION ALL
    SELECT pg_catalog.format('table %s%s, a child of %s', r.prefix, r.name, h.inhparent::pg_catalog.regclass), '', r.prefix
    FROM relations AS r JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = r.oid
    UNION ALL
    SELECT CASE f.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END || f.prefix || f.name,
           pg_catalog.concat_ws(' ', f.prokind, l.lanname, f.prosecdef, f.proleakproof, f.proisstrict, f.provolatile,
               f.proparallel, pg_catalog.pg_get_function_arguments(f.oid), pg_catalog.pg_get_function_result(f.oid),
               f.proconfig::text, nullif(f.prosupport, 0)::text, f.probin, pg_catalog.pg_get_function_sqlbody(f.oid),
               f.prosrc), NULL
    FROM functions AS f JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
)
SELECT coalesce(pg_catalog.replace(f.object, s.prefix, ''), '') AS object,
       coalesce(pg_catalog.replace(f.definition, f.prefix, ''), f.definition) AS definition
FROM found AS f CROSS JOIN space AS s
