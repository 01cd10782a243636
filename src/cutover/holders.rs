//! Who stands in the way of a lock on the fenced tables. Never a query: it may hold people's data.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Client;

use crate::database::holders;
use crate::error::Result;
use crate::names::Names;

/// A transaction that holds a lock for so long is none that a fence can wait for.
const OLD: Duration = Duration::from_secs(1);

/// Sessions and prepared transactions that hold a lock on the tables which does not go together with a fence, each as
/// a phrase.
pub async fn of_tables(client: &Client, names: &Names, with_notifications: bool) -> Result<Vec<String>> {
    Ok(read(client, names, with_notifications).await?.into_values().collect())
}

/// Those that hold it now, and in the same transaction a second later. How old a transaction is cannot be asked by a
/// role that does not see other people's activity.
pub async fn old(client: &Client, names: &Names, with_notifications: bool) -> Result<Vec<String>> {
    let before = read(client, names, with_notifications).await?;
    if before.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(OLD).await;
    let mut after = read(client, names, with_notifications).await?;
    after.retain(|transaction, _| before.contains_key(transaction));
    Ok(after.into_values().collect())
}

/// By the transaction's own id.
async fn read(client: &Client, names: &Names, with_notifications: bool) -> Result<BTreeMap<String, String>> {
    let tables = format!("SELECT {}({with_notifications})", names.own("fenced_tables"));
    // SHARE ROW EXCLUSIVE goes together with ACCESS SHARE and ROW SHARE only.
    let which = "l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')";
    holders::of(client, &tables, which).await
}
