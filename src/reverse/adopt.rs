//! Adoption of rows in a rollback: rows born on Traffic and present on Landing become Landing's rows.

use tokio_postgres::Client;
use uuid::Uuid;

use super::paging::PageStart;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::traffic::TriggerControl;

/// Number of keys in a page.
const PAGE: i64 = 1000;

/// Marks rows that were born on Traffic and are on Landing now as Landing's (`landing_synced_at`), so that
/// after a rollback an update or a delete of an adopted row reaches Traffic. Runs in the open transaction of
/// `traffic`, which passes Traffic's fence. `which` is a condition on the rows of Traffic to look at. Returns
/// the number of adopted rows.
///
/// # Errors
/// A database cannot be read or written.
pub async fn adopt(
    landing: &Client,
    traffic: &Client,
    names: &Names,
    tables: &[Table],
    triggers: TriggerControl,
    which: &str,
) -> Result<u64> {
    let adopting = |error: tokio_postgres::Error| Error::database("adopting rows on Traffic", &error);
    let now = landing.query_one("SELECT clock_timestamp()", &[]).await.map_err(adopting)?;
    let now: Timestamp = now.get(0);
    traffic.batch_execute(triggers.suppress()).await.map_err(adopting)?;
    let mut adopted = 0;
    for &table in tables {
        let (theirs, ours) = (names.traffic_table(table), names.landing_table(table));
        let born = |start: &PageStart| {
            format!(
                "SELECT id FROM {theirs} WHERE landing_synced_at IS NULL AND {which} AND {} ORDER BY id LIMIT $2",
                start.condition("id")
            )
        };
        let there = format!("SELECT id FROM {ours} WHERE id = ANY ($1)");
        let adopt = format!("UPDATE {theirs} SET landing_synced_at = $2 WHERE id = ANY ($1)");
        let mut start = PageStart::FIRST;
        loop {
            let rows = traffic.query(&born(&start), &[start.key(), &PAGE]).await.map_err(adopting)?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            let Some(last) = ids.last() else { break };
            start = PageStart::after(*last);
            let found = landing.query(&there, &[&ids]).await.map_err(adopting)?;
            let found: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
            adopted += traffic.execute(&adopt, &[&found, &now]).await.map_err(adopting)?;
        }
    }
    traffic.batch_execute(triggers.restore()).await.map_err(adopting)?;
    Ok(adopted)
}
