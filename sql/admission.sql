-- Facts of one side's catalog about the replicated tables, as one JSON document (`admission::facts`).
-- $1: the tables' names, quoted and with their schema. A reference names a table by the position in that list.
WITH RECURSIVE wanted AS (
    SELECT w.position::int - 1 AS position, c.oid, c.relkind, c.relpersistence, c.relispartition, c.relreplident, c.relam
    FROM unnest($1::text[]) WITH ORDINALITY AS w (name, position)
    JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(w.name)
),
-- Columns that change with an id: the ids, and every column that refers to an id directly or through a chain.
moved (relation, attribute) AS (
    SELECT a.attrelid, a.attnum FROM wanted AS w
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid AND a.attname = 'id' AND NOT a.attisdropped
    UNION
    SELECT k.conrelid, pair.referring FROM moved AS m
    JOIN pg_catalog.pg_constraint AS k ON k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = m.relation
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (referring, referred)
    WHERE pair.referred = m.attribute
)
SELECT pg_catalog.jsonb_build_object(
    'version', pg_catalog.current_setting('server_version_num')::int,
    'tables', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'position', w.position,
        'kind', w.relkind,
        'persistence', w.relpersistence,
        'is_partition', w.relispartition,
        'access_method', (SELECT m.amname FROM pg_catalog.pg_am AS m WHERE m.oid = w.relam),
        'identity', w.relreplident,
        'parents', ARRAY(SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_inherits AS i
            JOIN pg_catalog.pg_class AS c ON c.oid = i.inhparent
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE i.inhrelid = w.oid ORDER BY 1),
        'children', ARRAY(SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_inherits AS i
            JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE i.inhparent = w.oid ORDER BY 1),
        'rules', ARRAY(SELECT r.rulename FROM pg_catalog.pg_rewrite AS r
            WHERE r.ev_class = w.oid AND r.ev_type <> '1' ORDER BY 1),
        'subscriptions', ARRAY(SELECT s.subname FROM pg_catalog.pg_subscription_rel AS r
            JOIN pg_catalog.pg_subscription AS s ON s.oid = r.srsubid WHERE r.srrelid = w.oid ORDER BY 1),
        'triggers', ARRAY(SELECT t.tgname FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = w.oid AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') ORDER BY 1),
        'columns', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', a.attname,
            'type_oid', a.atttypid::bigint,
            'type_name', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'type_kind', t.typtype,
            'precision', CASE WHEN a.atttypid = 'pg_catalog.timestamptz'::pg_catalog.regtype
                THEN nullif(a.atttypmod, -1) END,
            'is_not_null', a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS n
                WHERE n.conrelid = w.oid AND n.contype = 'n' AND n.conkey = ARRAY[a.attnum] AND NOT n.convalidated),
            'is_generated', a.attgenerated <> '',
            'is_always_identity', a.attidentity = 'a') ORDER BY a.attnum), '[]')
            FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
            WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped),
        'indexes', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', c.relname,
            'is_unique', i.indisunique,
            'is_exclusion', i.indisexclusion,
            'is_primary', i.indisprimary,
            'is_identity', i.indisreplident,
            'is_immediate', i.indimmediate,
            'is_valid', i.indisvalid AND i.indisready AND i.indislive,
            'is_partial', i.indpred IS NOT NULL,
            -- An expression has no column. INCLUDE columns are no part of an index's key.
            'key', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.position)
                FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attribute, position)
                LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid AND a.attnum = k.attribute AND k.attribute > 0
                WHERE k.position <= i.indnkeyatts)) ORDER BY c.relname), '[]')
            FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indrelid = w.oid AND (i.indisunique OR i.indisexclusion))
        ) ORDER BY w.position), '[]') FROM wanted AS w),
    'references', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', k.conname,
        'from', pg_catalog.format('%I.%I', n.nspname, c.relname),
        'from_table', (SELECT w.position FROM wanted AS w WHERE w.oid = k.conrelid),
        'from_columns', ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS p (attribute, position)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = p.attribute ORDER BY p.position),
        'to', pg_catalog.format('%I.%I', fn.nspname, f.relname),
        'to_table', (SELECT w.position FROM wanted AS w WHERE w.oid = k.confrelid),
        'to_columns', ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY AS p (attribute, position)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = p.attribute ORDER BY p.position),
        'on_delete', k.confdeltype,
        'on_update', k.confupdtype,
        -- PostgreSQL 18 has foreign keys that are NOT ENFORCED.
        'is_enforced', coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true),
        'is_disabled', EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
            WHERE t.tgconstraint = k.oid AND t.tgenabled NOT IN ('O', 'A'))
        ) ORDER BY n.nspname, c.relname, k.conname), '[]')
        FROM pg_catalog.pg_constraint AS k
        JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_class AS f ON f.oid = k.confrelid
        JOIN pg_catalog.pg_namespace AS fn ON fn.oid = f.relnamespace
        WHERE k.contype = 'f' AND k.conparentid = 0
            AND (EXISTS (SELECT FROM wanted AS w WHERE w.oid IN (k.conrelid, k.confrelid))
                OR EXISTS (SELECT FROM moved AS m WHERE m.relation = k.confrelid AND m.attribute = ANY (k.confkey))))
)::text
