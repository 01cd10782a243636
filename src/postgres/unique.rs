//! Columns of a table's unique indexes, and how rows exchange unique values.
//!
//! PostgreSQL checks a unique index row by row. Rows that exchange values are valid as a set, but PostgreSQL
//! refuses each row while another row still holds the value. So within a transaction the rows of a set first
//! give up their old values for fillers, and then get the new values.

use tokio_postgres::Client;

use crate::error::Result;
use crate::postgres::step::during;

/// The largest number of rows that are written as a set. The rows of a set are in memory together.
pub const LARGEST_SET: usize = 200;

/// SQLSTATEs of a collision: with a unique index, or with an exclusion constraint.
pub const COLLISIONS: [&str; 2] = ["23505", "23P01"];

/// A column whose value may be replaced by a filler for a moment: a unique index or an exclusion constraint
/// covers the column, and no foreign key does, because a foreign key's actions would propagate the filler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueColumn {
    pub name: String,
    sql_type: String,
    /// Longest text; `None` without a limit, or for another type.
    limit: Option<i32>,
    /// Whether the filler must be a value: the column is NOT NULL, or an index treats nulls as equal.
    needs_value: bool,
}

/// Kind of the temporary value in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filler {
    /// Null, wherever the column and its indexes permit null: a CHECK seldom forbids null.
    Null,
    /// A value of the row's own, for a CHECK that demands a value.
    Value,
}

impl Filler {
    /// Fillers in the order of attempts.
    pub const ALL: [Filler; 2] = [Filler::Null, Filler::Value];
}

/// The unique columns of `table`, without `id`, generated and identity columns. `table` is quoted for SQL.
///
/// # Errors
/// The catalog cannot be read.
pub async fn columns(client: &Client, table: &str) -> Result<Vec<UniqueColumn>> {
    // `pg_depend` has the columns of an index's expressions and predicate too. The index of a constraint
    // depends on the constraint instead, so `indkey` is read as well.
    let sql = "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, NULL), \
               CASE WHEN a.atttypid = 'pg_catalog.varchar'::pg_catalog.regtype AND a.atttypmod > 4 \
                 THEN a.atttypmod - 4 END, \
               a.attnotnull OR pg_catalog.bool_or(i.indnullsnotdistinct) \
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
               AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = '' \
               WHERE i.indrelid = pg_catalog.to_regclass($1) AND (i.indisunique OR i.indisexclusion) \
               AND i.indislive AND a.attname <> 'id' \
               AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_catalog.pg_depend d \
                 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid \
                 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indrelid \
                 AND d.refobjsubid = a.attnum)) \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' \
                 AND (k.conrelid = i.indrelid AND a.attnum = ANY (k.conkey) \
                   OR k.confrelid = i.indrelid AND a.attnum = ANY (k.confkey))) \
               GROUP BY a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attnum ORDER BY a.attnum";
    let rows = during(client, format!("reading the unique indexes of {table}")).rows(sql, &[&table]).await?;
    let column = |row: &tokio_postgres::Row| UniqueColumn {
        name: row.get(0),
        sql_type: row.get(1),
        limit: row.get(2),
        needs_value: row.get(3),
    };
    Ok(rows.iter().map(column).collect())
}

impl UniqueColumn {
    /// SQL expression for the filler of row `id`; `None` for a type without a filler.
    pub fn filler(&self, id: &str, filler: Filler) -> Option<String> {
        if filler == Filler::Null && !self.needs_value {
            return Some("NULL".to_owned());
        }
        Some(match self.sql_type.as_str() {
            "text" | "character varying" => {
                format!(
                    "pg_catalog.left(pg_catalog.replace({id}::text, '-', ''), {})",
                    self.limit.unwrap_or(32)
                )
            }
            "bigint" | "numeric" => {
                format!("-1 - (pg_catalog.hashtextextended({id}::text, 0) & 4611686018427387903)")
            }
            "integer" => format!("-1 - (pg_catalog.hashtext({id}::text) & 1073741823)"),
            "uuid" => "pg_catalog.gen_random_uuid()".to_owned(),
            _ if !self.needs_value => "NULL".to_owned(),
            _ => return None,
        })
    }
}

/// UPDATE of the rows of `table` that have the ids of the rows `input`, which is SQL for a set of rows `i`.
/// Replaces the values of unique columns by fillers. Each column comes with the condition on `t`, the row of
/// `table`, and `i` under which its value changes. `None` when no column has a filler.
pub fn give_up<'c>(
    (table, input): (&str, &str),
    columns: impl Iterator<Item = (&'c UniqueColumn, String)>,
    filler: Filler,
) -> Option<String> {
    let (mut set, mut changed) = (Vec::new(), Vec::new());
    for (column, condition) in columns {
        let Some(value) = column.filler("t.id", filler) else { continue };
        let name = &column.name;
        set.push(format!("{name} = CASE WHEN {condition} THEN {value} ELSE t.{name} END"));
        changed.push(condition);
    }
    let (set, changed) = (set.join(", "), changed.join(" OR "));
    let sql = format!("UPDATE {table} AS t SET {set} FROM {input} WHERE t.id = i.id::uuid AND ({changed})");
    (!set.is_empty()).then_some(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(sql_type: &str, needs_value: bool) -> UniqueColumn {
        UniqueColumn { name: "c".into(), sql_type: sql_type.into(), limit: Some(5), needs_value }
    }

    #[test]
    fn a_column_that_takes_null_gets_null_first_and_one_that_does_not_a_value_of_the_rows_own() {
        assert_eq!(column("text", false).filler("t.id", Filler::Null).as_deref(), Some("NULL"));
        for filler in Filler::ALL {
            let value = column("character varying", true).filler("t.id", filler).unwrap();
            assert!(value.contains("t.id") && value.ends_with("5)"), "{value}");
        }
        assert_eq!(column("boolean", false).filler("t.id", Filler::Value).as_deref(), Some("NULL"));
        assert_eq!(column("boolean", true).filler("t.id", Filler::Null), None);
    }

    #[test]
    fn without_a_column_that_can_be_given_up_there_is_no_statement() {
        let fixed = column("boolean", true);
        assert_eq!(give_up(("t", "i"), [(&fixed, "true".to_owned())].into_iter(), Filler::Null), None);
    }
}
