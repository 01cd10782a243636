//! What a rollback makes Landing's again: rows that were born on Traffic and have been carried to Landing, and columns
//! that Landing owns and whose values on Traffic could not be carried there.
//!
//! The first are marked (`landing_synced_at`). Of all of them Landing writes the row again, unchanged, behind the position
//! at which its stream goes on: so the stream brings to Traffic what the mapping makes of it, as after any change.

use tokio_postgres::Client;
use uuid::Uuid;

use super::content::Horizon;
use crate::change::Table;
use crate::config::Config;
use crate::database::Session;
use crate::error::{Error, Result};
use crate::traffic::TriggerControl;
use crate::{reverse, verify};

/// Rows to be sent again, by table.
pub(super) type Rows = Vec<(Table, Vec<Uuid>)>;

/// Marks every such row, before anybody waits. Answers which rows are not on Traffic as the mapping makes them; some
/// may be on their way, and are sent once more in vain.
///
/// # Errors
/// Refused when they are too many to be known.
pub(super) async fn all(
    landing: &Client,
    traffic: &Session,
    config: &Config,
    triggers: TriggerControl,
) -> Result<Rows> {
    let failed = |error| Error::database("adopting rows on Traffic", &error);
    traffic.batch_execute("BEGIN").await.map_err(failed)?;
    reverse::adopt(landing, traffic, &config.names, &config.tables(), triggers, "true").await?;
    traffic.batch_execute("COMMIT").await.map_err(failed)?;
    let mut rows = Rows::new();
    for table in config.tables() {
        let found = verify::compare(landing, traffic, &config.names, table).await?;
        if !found.knows_its_suspects() {
            let differences = found.differences();
            return Err(Error::refused(format!(
                "{differences} rows of {} on Traffic have values that Landing does not give: too many to send one by one",
                table.landing_name()
            ))
            .remedy("has somebody changed a column on Traffic for every lead that Landing owns? See `leadbridge rollback --dry-run`"));
        }
        rows.push((table, found.unlike()));
    }
    Ok(rows)
}

/// Marks those that were written since `horizon`, in the transaction that holds the fence on `fenced`.
pub(super) async fn recent(
    landing: &Client,
    fenced: &Session,
    config: &Config,
    triggers: TriggerControl,
    horizon: &Horizon,
) -> Result<()> {
    let passing = fenced.batch_execute("SET LOCAL leadbridge.passes_fence = 'on'").await;
    passing.map_err(|error| Error::database("adopting rows on Traffic", &error))?;
    let recent = horizon.is_recent_on_traffic();
    reverse::adopt(landing, fenced, &config.names, &config.tables(), triggers, &recent).await.map(drop)
}

/// Lets Landing, which is fenced, send these rows again.
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
        // By way of text: a value that is assigned to itself is not sent when it is TOASTed.
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
