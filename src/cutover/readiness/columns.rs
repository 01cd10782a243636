//! Columns on Traffic without a source column on Landing. Neither direction writes the columns; the operator
//! is told beforehand.

use serde::Serialize;

use crate::config::Config;
use crate::error::Result;
use crate::landing::catalog;
use crate::language::message;
use crate::postgres::Databases;
use crate::report::Verdict;

/// Columns of a table on Traffic that belong to Traffic, because Landing lacks the source columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrafficOwned {
    /// The table's name on Traffic.
    pub table: &'static str,
    pub columns: Vec<String>,
}

/// The tables with columns of Traffic's own.
pub(super) async fn traffic_owned(databases: Databases<'_>, config: &Config) -> Result<Vec<TrafficOwned>> {
    let mapping = catalog::mapping(databases, &config.tables()).await?;
    let mut owned = Vec::new();
    for table in config.tables() {
        // Traffic's own code writes no column of Landing's spelling, so there is nothing to tell of these.
        let names = mapping.of(table).traffics().map(|target| target.name.to_string());
        let columns: Vec<_> = names.filter(|name| !name.starts_with("landing_")).collect();
        if !columns.is_empty() {
            owned.push(TrafficOwned { table: table.traffic_name(), columns });
        }
    }
    Ok(owned)
}

pub(super) fn judge(owned: &[TrafficOwned]) -> Verdict {
    let of = |table: &TrafficOwned| {
        let columns: Vec<_> =
            table.columns.iter().map(|column| format!("{}.{column}", table.table)).collect();
        columns.join(", ")
    };
    let all: Vec<String> = owned.iter().map(of).collect();
    Verdict::ok(match all.is_empty() {
        true => message!("cutover-columns-all"),
        false => message!("cutover-columns-traffic-owned", columns = all.join(", ")),
    })
}
