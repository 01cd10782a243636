//! Columns of Landing's replicated tables that are not replicated: named wherever an operator looks, so that no
//! column is dropped silently.

use serde::Serialize;

use super::catalog;
use crate::error::Result;
use crate::model::change::Table;
use crate::postgres::Databases;

/// The reason why a column is not replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// `[columns]` of the configuration skips the column.
    Skipped,
    /// PostgreSQL computes the column on Landing, and the stream does not send the values.
    Generated,
    /// The last copy did not know the column: no place was made for the column on Traffic, or the place was
    /// made since.
    NotCopied,
}

/// A column that is not replicated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The table's name on Landing.
    pub table: String,
    pub column: String,
    pub reason: LeftOutReason,
}

/// The columns of Landing's tables that the mapping does not carry, in the catalog's order. `skips` says whether
/// the configuration skips a column.
pub async fn left_out(
    databases: Databases<'_>,
    tables: &[Table],
    skips: impl Fn(Table, &str) -> bool,
) -> Result<Vec<LeftOut>> {
    let Databases { names, .. } = databases;
    let mapping = catalog::mapping(databases, tables).await?;
    let mut left_out = Vec::new();
    for &table in tables {
        let carried = mapping.of(table);
        for column in catalog::columns(databases.landing, names, table).await? {
            if carried.present().any(|(_, known)| known.name == column.name) {
                continue;
            }
            let reason = match column.is_generated {
                true => LeftOutReason::Generated,
                false if skips(table, &column.name) => LeftOutReason::Skipped,
                false => LeftOutReason::NotCopied,
            };
            let table = names.landing_name(table).to_owned();
            left_out.push(LeftOut { table, column: column.name, reason });
        }
    }
    Ok(left_out)
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = match self.reason {
            LeftOutReason::Skipped => "skipped by the configuration",
            LeftOutReason::Generated => "computed by PostgreSQL",
            LeftOutReason::NotCopied => "not copied yet",
        };
        write!(f, "{}.{} ({reason})", self.table, self.column)
    }
}
