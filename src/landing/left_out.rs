//! Columns of Landing's replicated tables that are not replicated: named wherever an operator looks, so that no
//! column is dropped silently.

use serde::Serialize;

use super::catalog::{self, CatalogColumn};
use crate::error::Result;
use crate::language::{Message, message};
use crate::mapping::Mapping;
use crate::model::change::Table;
use crate::model::column_rules::ColumnRules;
use crate::model::side::Side;
use crate::postgres::{Database, Databases};

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

/// The columns of each replicated table, as the catalog has them.
#[derive(Clone, Debug, Default)]
pub struct LandingColumns(Vec<(Table, String, Vec<CatalogColumn>)>);

impl LandingColumns {
    /// # Errors
    /// The connection broke.
    pub async fn read(landing: Database<'_>, tables: &[Table]) -> Result<Self> {
        let (mut all, names) = (Vec::new(), landing.names);
        for &table in tables {
            let columns = catalog::columns(landing.client, names, table).await?;
            all.push((table, names.landing_name(table).to_owned(), columns));
        }
        Ok(LandingColumns(all))
    }

    /// The columns that the mapping does not carry, in the catalog's order.
    pub fn left_out(&self, mapping: &Mapping, rules: &ColumnRules) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        for (table, name, columns) in &self.0 {
            let carried = mapping.of(*table);
            let is_carried = |column: &str| carried.present().any(|(_, known)| known.name == column);
            for column in columns.iter().filter(|column| !is_carried(&column.name)) {
                let reason = match column.is_generated {
                    true => LeftOutReason::Generated,
                    false if rules.skips(*table, &column.name) => LeftOutReason::Skipped,
                    false => LeftOutReason::NotCopied,
                };
                left_out.push(LeftOut { table: name.clone(), column: column.name.clone(), reason });
            }
        }
        left_out
    }
}

/// The columns of Landing's tables that are not replicated.
///
/// # Errors
/// A connection broke.
pub async fn left_out(
    databases: Databases<'_>,
    tables: &[Table],
    rules: &ColumnRules,
) -> Result<Vec<LeftOut>> {
    let mapping = catalog::mapping(databases, tables).await?;
    Ok(LandingColumns::read(databases.on(Side::Landing), tables).await?.left_out(&mapping, rules))
}

impl LeftOut {
    /// The column, and why it is left out.
    pub fn message(&self) -> Message {
        let LeftOut { table, column, reason } = self;
        match reason {
            LeftOutReason::Skipped => message!("landing-left-out-skipped", table = table, column = column),
            LeftOutReason::Generated => {
                message!("landing-left-out-generated", table = table, column = column)
            }
            LeftOutReason::NotCopied => {
                message!("landing-left-out-not-copied", table = table, column = column)
            }
        }
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message().fmt(f)
    }
}
