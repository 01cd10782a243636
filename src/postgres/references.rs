//! Changing a row's key together with every column that refers to the row, by the foreign keys that the
//! server has at the moment. Both directions keep the rows that refer to a row whose key changes: Traffic's
//! own rows in forward replication, Landing's own rows in reverse replication.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use uuid::Uuid;

use super::step::during;
use crate::error::{Error, Result};
use crate::model::names::qualified;

/// A column of any table that changes with a row's `id`, because a foreign key compares the two.
#[derive(Debug)]
pub struct Reference {
    /// The referring table, qualified and quoted.
    pub table: String,
    /// The referring column, quoted.
    pub column: String,
    /// Whether this role may read and update the column.
    pub may_update: bool,
    /// Whether the foreign key's own ON UPDATE action would lose the reference: SET NULL or SET DEFAULT.
    pub loses: bool,
}

/// The columns that change with the id of `table`, by the current foreign keys: columns that refer to the id,
/// alone or with other columns; then columns that refer to such a column, and so on. Read for each changed
/// key, because the school may add a foreign key at any time, and keys change rarely.
pub async fn referring(client: &Client, step: &str, table: &str) -> Result<Vec<Reference>> {
    let sql = "WITH RECURSIVE moved (relation, attribute, depth, loses) AS (
                   SELECT a.attrelid, a.attnum, 0, false FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attname = 'id' AND NOT a.attisdropped
                   UNION
                   SELECT k.conrelid, pair.referring, m.depth + 1, k.confupdtype IN ('n', 'd') FROM moved m
                   JOIN pg_catalog.pg_constraint k
                       ON k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = m.relation
                   CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (referring, referred)
                   -- Keys may go round in a circle.
                   WHERE pair.referred = m.attribute AND m.depth < 16)
               SELECT n.nspname::text, c.relname::text, a.attname::text,
                   has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
                       AND has_column_privilege(c.oid, a.attnum, 'UPDATE'), m.loses
               FROM (SELECT relation, attribute, min(depth) AS depth, bool_or(loses) AS loses
                     FROM moved GROUP BY relation, attribute) m
               JOIN pg_catalog.pg_class c ON c.oid = m.relation
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_attribute a ON a.attrelid = m.relation AND a.attnum = m.attribute
               WHERE m.depth > 0 ORDER BY m.depth, 1, 2, 3";
    let rows = during(client, format!("{step}: reading the foreign keys")).rows(sql, &[&table]).await?;
    let reference = |row: &tokio_postgres::Row| Reference {
        table: qualified(row.get(0), row.get(1)),
        column: postgres_protocol::escape::escape_identifier(row.get(2)),
        may_update: row.get(3),
        loses: row.get(4),
    };
    Ok(rows.iter().map(reference).collect())
}

/// Gives the row `old` of `table` the key `new`, together with the columns in `references`. Returns whether
/// the table has the row.
///
/// The row is locked first, in a statement of its own. A writer that inserts a referring row holds a lock on
/// the row, so the statement that changes the key sees every referring row; a later writer finds the row gone.
///
/// # Errors
/// The errors of the statement, and [`Error::skipped`] for a row that a trigger left out.
pub async fn change_key(
    client: &Client,
    step: &str,
    (table, references): (&str, &[Reference]),
    (old, new): (Uuid, Uuid),
) -> Result<bool> {
    let lock = format!("SELECT FROM {table} WHERE id = $1 FOR UPDATE");
    if during(client, step).row_if_any(&lock, &[&old]).await?.is_none() {
        return Ok(false);
    }
    match during(client, step).write(&statement(table, references), &[&old, &new]).await? {
        0 => Err(Error::skipped(step)),
        _ => Ok(true),
    }
}

/// Changes a key in `itself` and in every column with a reference to the row. Parameters: the old key and the
/// new key.
///
/// PostgreSQL checks foreign keys at the end of a statement, so a single statement works whatever the foreign
/// keys say of an update: at the end all references agree. Each table occurs once, because a statement can
/// change a row only once.
fn statement(itself: &str, references: &[Reference]) -> String {
    let mut columns: BTreeMap<&str, Vec<&str>> = BTreeMap::from([(itself, vec!["id"])]);
    for Reference { table, column, .. } in references {
        columns.entry(table).or_default().push(column);
    }
    let update = |table: &str, columns: &[&str]| {
        let set: Vec<String> = columns
            .iter()
            .map(|c| format!("{c} = CASE {c} WHEN $1::uuid THEN $2::uuid ELSE {c} END"))
            .collect();
        format!("UPDATE {table} SET {} WHERE $1::uuid IN ({})", set.join(", "), columns.join(", "))
    };
    let (own, others): (Vec<_>, Vec<_>) = columns.iter().partition(|(table, _)| **table == itself);
    let moves: Vec<String> = others
        .iter()
        .enumerate()
        .map(|(at, (table, columns))| format!("moved_{at} AS ({})", update(table, columns)))
        .collect();
    let with = if moves.is_empty() { String::new() } else { format!("WITH {} ", moves.join(", ")) };
    let own: String = own.iter().map(|(table, columns)| update(table, columns)).collect();
    with + &own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_refers_to_a_row_more_than_once_and_the_rows_own_are_updated_once() {
        let reference = |table: &str, column: &str| Reference {
            table: table.into(),
            column: column.into(),
            may_update: true,
            loses: false,
        };
        let sql = statement("leads", &[reference("s", "a"), reference("s", "b"), reference("leads", "c")]);
        assert_eq!((sql.matches("UPDATE").count(), sql.matches("UPDATE s SET").count()), (2, 1), "{sql}");
        assert!(
            sql.contains("WHERE $1::uuid IN (id, c)") && sql.contains("WHERE $1::uuid IN (a, b)"),
            "{sql}"
        );
    }
}
