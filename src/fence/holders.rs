//! Holders of locks on the fenced tables. Never shows a query, because a query may hold people's data.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Result;
use crate::postgres::{Database, holders};

/// A fence cannot wait for a transaction that holds a lock for this time.
const OLD: Duration = Duration::from_secs(1);

/// Sessions and prepared transactions that hold a lock on the tables in conflict with a fence, each as a
/// phrase.
pub async fn of_tables(fenced: Database<'_>, with_notifications: bool) -> Result<Vec<String>> {
    Ok(read(fenced, with_notifications).await?.into_values().collect())
}

/// Holders of conflicting locks, in the same transaction now and a second later. The age of a transaction
/// cannot be asked for by a role that does not see other users' activity.
pub async fn old(fenced: Database<'_>, with_notifications: bool) -> Result<Vec<String>> {
    let before = read(fenced, with_notifications).await?;
    if before.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(OLD).await;
    let mut after = read(fenced, with_notifications).await?;
    after.retain(|transaction, _| before.contains_key(transaction));
    Ok(after.into_values().collect())
}

/// Holders by virtual transaction id.
async fn read(fenced: Database<'_>, with_notifications: bool) -> Result<BTreeMap<String, String>> {
    let tables = format!("SELECT {}({with_notifications})", fenced.names.own("fenced_tables"));
    // SHARE ROW EXCLUSIVE conflicts with every mode but ACCESS SHARE and ROW SHARE.
    let which = "l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')";
    holders::of(fenced.client, &tables, which).await
}
