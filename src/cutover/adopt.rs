//! Leads and stages that were born on Traffic and have been carried to Landing: they are Landing's from a rollback on,
//! and `landing_synced_at` is what tells the two kinds apart.

use tokio_postgres::Client;
use uuid::Uuid;

use super::content::Horizon;
use crate::change::Table;
use crate::config::Config;
use crate::database::Session;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::traffic::TriggerControl;

/// Rows looked at together.
const PAGE: usize = 5_000;

/// Marks every such row, a page in a transaction of its own.
pub(super) async fn all(
    landing: &Client,
    traffic: &Session,
    config: &Config,
    control: TriggerControl,
) -> Result<()> {
    for table in config.tables() {
        let mut after = Uuid::nil();
        loop {
            let born = page(traffic, &config.names, table, after, "true").await?;
            let Some(last) = born.last().copied() else { break };
            let carried = among(landing, &config.names, table, &born).await?;
            if !carried.is_empty() {
                let failed = |error| Error::database("marking rows on Traffic", &error);
                traffic.batch_execute("BEGIN").await.map_err(failed)?;
                mark(traffic, control, &config.names, table, &carried).await?;
                traffic.batch_execute("COMMIT").await.map_err(failed)?;
            }
            after = last;
        }
    }
    Ok(())
}

/// Marks those that were written since `horizon`, in the transaction that holds the fence on `fenced`.
pub(super) async fn recent(
    landing: &Client,
    fenced: &Session,
    config: &Config,
    control: TriggerControl,
    horizon: &Horizon,
) -> Result<()> {
    for table in config.tables() {
        let mut after = Uuid::nil();
        loop {
            let born = page(fenced, &config.names, table, after, &horizon.is_recent_on_traffic()).await?;
            let Some(last) = born.last().copied() else { break };
            let carried = among(landing, &config.names, table, &born).await?;
            mark(fenced, control, &config.names, table, &carried).await?;
            after = last;
        }
    }
    Ok(())
}

async fn page(traffic: &Client, names: &Names, table: Table, after: Uuid, which: &str) -> Result<Vec<Uuid>> {
    let sql = format!(
        "SELECT id FROM {} WHERE landing_synced_at IS NULL AND id > $1 AND {which} ORDER BY id LIMIT {PAGE}",
        names.traffic_table(table)
    );
    let rows = traffic.query(&sql, &[&after]).await;
    let step = format!("reading what was born on Traffic of {}", table.traffic_name());
    Ok(rows.map_err(|error| Error::database(step, &error))?.iter().map(|row| row.get(0)).collect())
}

async fn among(landing: &Client, names: &Names, table: Table, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let sql = format!("SELECT id FROM {} WHERE id = ANY ($1)", names.landing_table(table));
    let rows = landing.query(&sql, &[&ids]).await;
    let step = format!("reading what was carried to {}", table.landing_name());
    Ok(rows.map_err(|error| Error::database(step, &error))?.iter().map(|row| row.get(0)).collect())
}

/// Within an open transaction, past the fence, and without a trigger that would stamp `updated_at`.
async fn mark(
    traffic: &Client,
    control: TriggerControl,
    names: &Names,
    table: Table,
    ids: &[Uuid],
) -> Result<()> {
    let failed = |error| Error::database(format!("marking rows of {}", table.traffic_name()), &error);
    let sql = format!("{}; SET LOCAL leadbridge.passes_fence = 'on'", control.suppress());
    traffic.batch_execute(&sql).await.map_err(failed)?;
    let sql = format!(
        "UPDATE {} SET landing_synced_at = now() WHERE id = ANY ($1) AND landing_synced_at IS NULL",
        names.traffic_table(table)
    );
    traffic.execute(&sql, &[&ids]).await.map_err(failed)?;
    Ok(())
}
