//! Who stands in the way of a lock on the fenced tables. Never a query: it may hold people's data.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Error, Result};
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
    // SHARE ROW EXCLUSIVE goes together with ACCESS SHARE and ROW SHARE only. A prepared transaction has no process.
    let sql = format!(
        "SELECT l.virtualtransaction, CASE WHEN l.pid IS NULL
             THEN 'prepared transaction ' || coalesce(quote_literal(x.gid), '(of another database)')
             ELSE format('process %s (%s, application %s)', l.pid,
                         coalesce(a.usename, a.backend_type, 'another user'),
                         quote_literal(coalesce(a.application_name, '')))
                  || coalesce(', in a transaction for '
                              || date_trunc('second', clock_timestamp() - a.xact_start), '') END
         FROM pg_locks AS l
         JOIN {}($1) AS t ON l.relation = t
         LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
         LEFT JOIN pg_locks AS own ON l.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
             AND own.virtualtransaction = l.virtualtransaction
         LEFT JOIN pg_prepared_xacts AS x ON x.transaction = own.transactionid
         WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.locktype = 'relation' AND l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
           AND l.pid IS DISTINCT FROM pg_backend_pid()",
        names.own("fenced_tables")
    );
    let rows = client.query(&sql, &[&with_notifications]).await;
    let rows = rows.map_err(|error| Error::database("looking for who holds the tables", &error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
