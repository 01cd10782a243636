//! The operator's decisions about columns of Landing that no rule of the mapping reads: `[columns]` of the
//! configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::table::Table;

/// The decisions about one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumnRules {
    /// The names on Traffic of columns that are not to have their name on Landing.
    pub rename: BTreeMap<String, String>,
    /// Columns that are not carried.
    pub skip: BTreeSet<String>,
}

/// The decisions about each table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnRules(pub BTreeMap<Table, TableColumnRules>);

impl ColumnRules {
    pub fn skips(&self, table: Table, column: &str) -> bool {
        self.0.get(&table).is_some_and(|rules| rules.skip.contains(column))
    }

    /// The name on Traffic that the operator wants for a column.
    pub fn renamed(&self, table: Table, column: &str) -> Option<&str> {
        self.0.get(&table)?.rename.get(column).map(String::as_str)
    }

    /// Every column that the decisions name.
    pub fn named(&self, table: Table) -> impl Iterator<Item = &str> {
        let rules = self.0.get(&table);
        rules.into_iter().flat_map(|rules| rules.rename.keys().chain(&rules.skip)).map(String::as_str)
    }
}
