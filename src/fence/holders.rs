//! Holders of locks on the fenced tables. Never shows a query, because a query may hold people's data.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Result;
use crate::postgres::{Database, holders};

/// A fence cannot wait for a transaction that holds a lock for this time.
const OLD: Duration = Duration::from_secs(1);

/// Who would have to wait for a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Fence,
    Writers,
    Readers,
}

impl Against {
    fn modes(self) -> &'static str {
        match self {
            // SHARE ROW EXCLUSIVE conflicts with every mode but these.
            Against::Fence => "l.mode NOT IN ('AccessShareLock', 'RowShareLock')",
            // ROW EXCLUSIVE conflicts with these modes.
            Against::Writers => {
                "l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
            }
            Against::Readers => "l.mode = 'AccessExclusiveLock'",
        }
    }
}

/// Whoever holds a row has a lock of another mode than these on the table.
const WITH_ROWS: &str = "l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')";

/// Sessions and prepared transactions that hold a lock on the tables in conflict with a fence, each as a
/// phrase.
pub async fn of_tables(fenced: Database<'_>, with_notifications: bool) -> Result<Vec<String>> {
    Ok(read(fenced, with_notifications, Against::Fence.modes()).await?.into_values().collect())
}

/// Sessions and prepared transactions that may hold rows of the tables, each as a phrase.
pub async fn of_rows(database: Database<'_>, with_notifications: bool) -> Result<Vec<String>> {
    Ok(read(database, with_notifications, WITH_ROWS).await?.into_values().collect())
}

/// The holders as one phrase. A holder may have ended before it was looked for.
pub fn phrase(holders: &[String]) -> String {
    if holders.is_empty() { "somebody".to_owned() } else { holders.join("; ") }
}

/// Holders of conflicting locks, in the same transaction now and a second later. The age of a transaction
/// cannot be asked for by a role that does not see other users' activity.
pub async fn old(fenced: Database<'_>, with_notifications: bool, against: Against) -> Result<Vec<String>> {
    let before = read(fenced, with_notifications, against.modes()).await?;
    if before.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(OLD).await;
    let mut after = read(fenced, with_notifications, against.modes()).await?;
    after.retain(|transaction, _| before.contains_key(transaction));
    Ok(after.into_values().collect())
}

/// Holders by virtual transaction id, of locks of the modes `modes`.
async fn read(
    fenced: Database<'_>,
    with_notifications: bool,
    modes: &str,
) -> Result<BTreeMap<String, String>> {
    let tables = format!("SELECT {}({with_notifications})", fenced.names.own("fenced_tables"));
    holders::of(fenced.client, &tables, &format!("l.granted AND {modes}")).await
}
