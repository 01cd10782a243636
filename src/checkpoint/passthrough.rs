//! The passthrough columns for which `migrate` has made a place on Traffic.

use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::{Passthrough, PassthroughColumn};
use crate::model::change::Table;
use crate::postgres::Database;

/// Reads the record; empty where no version with passthrough columns has migrated.
///
/// # Errors
/// Refused when the record names a table that this version does not know.
pub async fn read(traffic: Database<'_>) -> Result<Passthrough> {
    let record = traffic.names.own("passthrough");
    let step = traffic.during("reading the passthrough columns");
    let mut passthrough = Passthrough::default();
    if !step.finds(&record).await? {
        return Ok(passthrough);
    }
    let sql = format!(
        "SELECT source_table, landing_column, traffic_column, sql_type FROM {record} ORDER BY 1, position"
    );
    for row in step.rows(&sql, &[]).await? {
        let label: &str = row.get(0);
        let table = Table::from_label(label).ok_or_else(|| {
            Error::refused(format!("{record} names a table that this version does not know: {label}"))
                .remedy(message!("checkpoint-remedy-passthrough-newer"))
        })?;
        let column = PassthroughColumn { landing: row.get(1), traffic: row.get(2), sql_type: row.get(3) };
        passthrough.0.entry(table).or_default().push(column);
    }
    Ok(passthrough)
}
