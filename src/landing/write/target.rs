//! The columns of Landing's tables as rows are written to them: read from Landing's catalog, never assumed.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::capture::layout::Layout;
use crate::error::Result;
use crate::landing::catalog;
use crate::mapping::inverse::ColumnPlace;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::postgres::step::during;

/// A Landing table to which rows are written.
#[derive(Clone, Debug)]
pub struct LandingTarget {
    pub layout: Layout,
    /// A place for each of [`Table::columns`].
    pub places: Vec<ColumnPlace>,
}

impl LandingTarget {
    /// # Errors
    /// A table or a column that the mapping needs is missing on Landing.
    pub async fn read(landing: &Client, names: &Names, table: Table) -> Result<Self> {
        let layout = catalog::layout(landing, names, table).await?;
        let sql = "SELECT a.attname::text, a.attnotnull, a.attgenerated <> '' FROM pg_catalog.pg_attribute a \
                   WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
        let step = during(landing, format!("reading the columns of {} on Landing", table.landing_name()));
        let rows = step.rows(sql, &[&names.landing_table(table)]).await?;
        let known: HashMap<String, (bool, bool)> =
            rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let place = |name: &str| match known.get(name) {
            Some((is_not_null, is_generated)) => {
                ColumnPlace { is_written: !is_generated, is_not_null: *is_not_null }
            }
            None => ColumnPlace { is_written: false, is_not_null: false },
        };
        let places = table.columns().iter().map(|column| place(column.name)).collect();
        Ok(LandingTarget { layout, places })
    }
}
