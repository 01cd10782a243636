//! Rows that a rollback gives back to Landing, of two kinds: rows born on Traffic and carried to Landing
//! since, and rows with a value on Traffic, in a column of Landing's, that could not be carried to Landing.
//!
//! Rows born on Traffic are marked (`landing_synced_at`). Then Landing writes again, unchanged, every row
//! that Traffic does not have as the mapping makes the row, and every row written since the comparison. The
//! writes come after the position from which Landing's stream continues, so the stream brings the mapped rows
//! to Traffic, as after any change.

use tokio_postgres::Client;
use uuid::Uuid;

use super::content::Horizon;
use crate::compare;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::paging::PageStart;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Databases, Session};

/// Rows for Landing to send again, by table.
pub(super) type Rows = Vec<(Table, Vec<Uuid>)>;

/// Marks every row that was born on Traffic and is on Landing, before the fence holds back any writer.
/// Returns the rows that Traffic does not have as the mapping makes the rows. Changes of some rows may still
/// be in the stream; Landing sends such rows once more in vain.
///
/// # Errors
/// Refused when the comparison found too many rows to know all keys.
pub(super) async fn all(
    landing: &Client,
    traffic: &Session,
    config: &Config,
    triggers: TriggerControl,
) -> Result<Rows> {
    let failed = |error| Error::database("adopting rows on Traffic", &error);
    traffic.batch_execute("BEGIN").await.map_err(failed)?;
    mark_born(landing, traffic, &config.names, &config.tables(), triggers, "true").await?;
    traffic.batch_execute("COMMIT").await.map_err(failed)?;
    let mut rows = Rows::new();
    for table in config.tables() {
        let databases = Databases { landing, traffic, names: &config.names };
        let found = compare::compare(databases, table).await?;
        if !found.knows_its_suspects() {
            let differences = found.differences();
            return Err(Error::refused(format!(
                "{differences} rows of {} on Traffic have values that Landing does not give: too many to send one by one",
                table.landing_name()
            ))
            .remedy("did a session change a column on Traffic for every lead that Landing owns? See `leadbridge \
                     rollback --dry-run`"));
        }
        rows.push((table, found.unlike()));
    }
    Ok(rows)
}

/// Marks the rows born on Traffic and written since `horizon`, in the transaction that holds the fence on
/// Traffic.
pub(super) async fn recent(
    landing: &Client,
    fenced: &Session,
    config: &Config,
    triggers: TriggerControl,
    horizon: &Horizon,
) -> Result<()> {
    during(fenced, "adopting rows on Traffic").batch("SET LOCAL leadbridge.passes_fence = 'on'").await?;
    let recent = horizon.is_recent_on_traffic();
    mark_born(landing, fenced, &config.names, &config.tables(), triggers, &recent).await.map(drop)
}

/// Writes `rows` on Landing again, past Landing's fence, so that Landing's stream sends the rows.
pub(super) async fn send_again(
    config: &Config,
    rows: impl Iterator<Item = &(Table, Vec<Uuid>)>,
) -> Result<()> {
    let landing = config.landing.connect("cutover").await?;
    let triggers = TriggerControl::probe(&landing).await?;
    let failed = |error| Error::database("writing rows on Landing again", &error);
    let begin = format!("BEGIN; {}; SET LOCAL leadbridge.passes_fence = 'on'", triggers.suppress());
    landing.batch_execute(&begin).await.map_err(failed)?;
    for (table, ids) in rows {
        // The value goes through text, because the stream leaves out a TOASTed value assigned to itself.
        let sql = format!(
            "UPDATE {} SET metadata = metadata::text::jsonb WHERE id = ANY ($1)",
            config.names.landing_table(*table)
        );
        landing.execute(&sql, &[ids]).await.map_err(failed)?;
    }
    landing.batch_execute("COMMIT").await.map_err(failed)?;
    landing.close().await;
    Ok(())
}

/// Number of keys in a page.
const PAGE: i64 = 1000;

/// Marks rows that were born on Traffic and are on Landing now as Landing's (`landing_synced_at`), so that
/// after a rollback an update or a delete of an adopted row reaches Traffic. Runs in the open transaction of
/// `traffic`, which passes Traffic's fence. `which` is a condition on the rows of Traffic to look at. Returns
/// the number of adopted rows.
///
/// # Errors
/// A database cannot be read or written.
pub async fn mark_born(
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
