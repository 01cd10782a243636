//! How the HTTP layer finds that one relation can be embedded in another: by a foreign key, through views whose columns
//! are plain columns of a table.

use tokio_postgres::Client;

/// Columns of tables, and columns of views that stand for a column of a table: the rewrite rule's target list records
/// where a plain column comes from.
const RELATIONS: &str = r"
    WITH plain AS (
        SELECT a.attrelid AS relation, a.attname AS name, a.attrelid AS base, a.attnum AS base_column
        FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
        WHERE c.relkind IN ('r', 'p') AND a.attnum > 0
        UNION ALL
        SELECT r.ev_class, a.attname, (entry.found)[2]::oid, (entry.found)[3]::smallint
        FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class AND c.relkind = 'v'
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.ev_class
        CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::text,
            ':resno ' || a.attnum || ' :resname (\S+) :ressortgroupref \d+ :resorigtbl (\d+) :resorigcol (\d+)', 'g') AS entry (found)
        WHERE (entry.found)[1] = a.attname AND (entry.found)[2] <> '0'
    )
    SELECT DISTINCT child.name::text, parent.name::text
    FROM pg_catalog.pg_constraint AS f
    JOIN plain AS child ON child.base = f.conrelid AND child.base_column = f.conkey[1]
    JOIN plain AS parent ON parent.base = f.confrelid AND parent.base_column = f.confkey[1]
    WHERE f.contype = 'f' AND pg_catalog.cardinality(f.conkey) = 1
        AND child.relation = pg_catalog.to_regclass($1) AND parent.relation = pg_catalog.to_regclass($2)";

/// The columns by which a row of `child` refers to its row of `parent`: the child's and the parent's. `None` without a
/// relation, and with more than one, because the HTTP layer then answers with an error.
pub async fn between(client: &Client, child: &str, parent: &str) -> Option<(String, String)> {
    let names = [child, parent].map(|name| format!("public.{name}"));
    let found = client.query(RELATIONS, &[&names[0], &names[1]]).await.unwrap();
    match found.as_slice() {
        [row] => Some((row.get(0), row.get(1))),
        _ => None,
    }
}
