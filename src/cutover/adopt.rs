//! Rows that a rollback gives back to Landing, of two kinds: rows born on Traffic and carried to Landing
//! since, and rows with a value on Traffic, in a column of Landing's, that could not be carried to Landing.
//!
//! Rows born on Traffic are marked as Landing's (`landing_synced_at`), so that after the rollback an update or
//! a delete of such a row reaches Traffic. Then Landing writes again, unchanged, every row that Traffic does
//! not have as the mapping makes the row, and every row written since the comparison. The writes come after
//! the position from which Landing's stream continues, so the stream brings the mapped rows to Traffic, as
//! after any change.

use uuid::Uuid;

use super::content::Horizon;
use crate::compare;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::Databases;
use crate::postgres::paging::PageStart;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::traffic::flowing;

/// Rows for Landing to send again, by table.
pub(super) type Rows = Vec<(Table, Vec<Uuid>)>;

/// Number of keys in a page.
const PAGE: i64 = 1000;

const ADOPTING: &str = "adopting rows on Traffic";

/// Marking of rows that were born on Traffic and are on Landing.
pub struct Adoption<'c> {
    pub databases: Databases<'c>,
    pub tables: Vec<Table>,
    /// Keeps Traffic's triggers from stamping the marked rows.
    pub triggers: TriggerControl,
}

impl Adoption<'_> {
    /// Marks every row, before the fence holds back any writer. Returns the rows that Traffic does not have as
    /// the mapping makes the rows. Changes of some rows may still be in the stream; Landing sends such rows
    /// once more in vain.
    ///
    /// # Errors
    /// Refused when the comparison found too many rows to know all keys.
    pub(super) async fn all(&self) -> Result<Rows> {
        let step = during(self.databases.traffic, ADOPTING);
        step.batch("BEGIN").await?;
        self.mark_born("true").await?;
        step.batch("COMMIT").await?;
        let mut rows = Rows::new();
        for &table in &self.tables {
            let found = compare::compare(self.databases, table).await?;
            if !found.knows_its_suspects() {
                let differences = found.differences();
                return Err(Error::refused(format!(
                    "{differences} rows of {} on Traffic have values that Landing does not give: too many to send one by one",
                    self.databases.names.landing_name(table)
                ))
                .remedy("did a session change a column on Traffic for every lead that Landing owns? See `leadbridge \
                         rollback --dry-run`"));
            }
            rows.push((table, found.unlike()));
        }
        Ok(rows)
    }

    /// Marks the rows written on Traffic since `horizon`, in the transaction that holds the fence on Traffic.
    pub(super) async fn recent(&self, horizon: &Horizon) -> Result<()> {
        let passes = "SET LOCAL leadbridge.passes_fence = 'on'";
        during(self.databases.traffic, ADOPTING).batch(passes).await?;
        self.mark_born(&horizon.is_recent(Side::Traffic)).await.map(drop)
    }

    /// Marks rows in the open transaction on Traffic, which passes Traffic's fence. `which` is a condition on
    /// the rows of Traffic to look at. Returns the number of adopted rows.
    ///
    /// # Errors
    /// A database cannot be read or written.
    pub async fn mark_born(&self, which: &str) -> Result<u64> {
        let Databases { landing, traffic, names } = self.databases;
        let (landing, traffic) = (during(landing, ADOPTING), during(traffic, ADOPTING));
        let now: Timestamp = landing.row("SELECT clock_timestamp()", &[]).await?.get(0);
        traffic.batch(self.triggers.suppress()).await?;
        let mut adopted = 0;
        for &table in &self.tables {
            let (theirs, ours) = (names.traffic_table(table), names.landing_table(table));
            let flows = flowing::flows(names, table);
            if table.lead_column().is_some() {
                // A journey entry that has passed to a lead of Traffic's own has left Landing.
                let release = format!(
                    "UPDATE {theirs} AS t SET landing_synced_at = NULL \
                     WHERE t.landing_synced_at IS NOT NULL AND {} AND {which}",
                    flowing::stays(names, table)
                );
                traffic.run(&release, &[]).await?;
            }
            let born = |start: &PageStart| {
                format!(
                    "SELECT t.id FROM {theirs} AS t WHERE t.landing_synced_at IS NULL AND {flows} AND {which} AND {} \
                     ORDER BY t.id LIMIT $2",
                    start.condition("t.id")
                )
            };
            let there = format!("SELECT id FROM {ours} WHERE id = ANY ($1)");
            let adopt = format!("UPDATE {theirs} SET landing_synced_at = $2 WHERE id = ANY ($1)");
            let mut start = PageStart::FIRST;
            loop {
                let rows = traffic.rows(&born(&start), &[start.key(), &PAGE]).await?;
                let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
                let Some(last) = ids.last() else { break };
                start = PageStart::after(*last);
                let found = landing.rows(&there, &[&ids]).await?;
                let found: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
                adopted += traffic.run(&adopt, &[&found, &now]).await?;
            }
        }
        traffic.batch(self.triggers.restore()).await?;
        Ok(adopted)
    }
}

/// Writes `rows` on Landing again, past Landing's fence, so that Landing's stream sends the rows.
pub(super) async fn send_again(
    config: &Config,
    rows: impl Iterator<Item = &(Table, Vec<Uuid>)>,
) -> Result<()> {
    let landing = config.landing.connect("cutover").await?;
    let triggers = TriggerControl::probe(&landing).await?;
    let step = during(&landing, "writing rows on Landing again");
    step.batch(&format!("BEGIN; {}; SET LOCAL leadbridge.passes_fence = 'on'", triggers.suppress())).await?;
    for (table, ids) in rows {
        // The value goes through text, because the stream leaves out a TOASTed value assigned to itself.
        let sql = format!(
            "UPDATE {} SET metadata = metadata::text::jsonb WHERE id = ANY ($1)",
            config.names.landing_table(*table)
        );
        step.run(&sql, &[ids]).await?;
    }
    step.batch("COMMIT").await?;
    landing.close().await;
    Ok(())
}
