-- The objects of the schema public, each under the label that `leadbridge migrate` gives the object, with a hash of the
-- object's definition.
SELECT 'table ' || c.relname AS label, '' AS definition
FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT format('column %s.%s', c.relname, a.attname), format('%s %s', a.atttypid::regtype, a.attnotnull)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format('comment on column %s.%s', c.relname, a.attname), col_description(c.oid, a.attnum)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NOT NULL
UNION ALL
SELECT 'row-level security of ' || c.relname, ''
FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relrowsecurity
UNION ALL
SELECT format('index on %s %s', c.relname, regexp_replace(
           split_part(pg_get_indexdef(i.indexrelid), 'USING btree ', 2), '::(text|character varying)', '', 'g')),
       i.indexrelid::regclass::text
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisprimary
UNION ALL
SELECT format('function %s', p.oid::regprocedure), pg_get_functiondef(p.oid)
FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
UNION ALL
SELECT format('view %s', c.relname), pg_get_viewdef(c.oid) || coalesce(c.reloptions::text, '')
FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
UNION ALL
SELECT format('trigger %I on %s', t.tgname, c.relname), pg_get_triggerdef(t.oid)
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'publication ' || pubname, '' FROM pg_publication
UNION ALL
SELECT format('table %s in publication %s', t.tablename, t.pubname), '' FROM pg_publication_tables AS t
