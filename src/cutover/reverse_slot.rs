//! The slot on Traffic from which changes flow back, before anybody streams from it.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::names::Names;

/// Makes it; one that an earlier attempt has left is recreated. Everything that Traffic commits from then on is kept
/// for it.
///
/// # Errors
/// Transient when transactions that run on Traffic hold it up for longer than `limit`, or somebody streams from it.
pub async fn create(traffic: &Client, names: &Names, limit: Duration) -> Result<()> {
    drop_unused(traffic, names).await?;
    let slot = names.reverse_slot();
    let failed = |error| Error::database(format!("creating the slot `{slot}` on Traffic"), &error);
    // The server waits for transactions that run; a limit of ours would leave it waiting.
    let limited = format!("SET statement_timeout = '{}ms'", limit.as_millis().max(1));
    traffic.batch_execute(&limited).await.map_err(failed)?;
    let created =
        traffic.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await;
    traffic.batch_execute("SET statement_timeout = 0").await.map_err(failed)?;
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.code().is_some_and(|code| code.code() == "57014") => {
            drop_unused(traffic, names).await?;
            Err(Error::new(
                Kind::Transient,
                format!("the slot `{slot}` could not be created on Traffic within {:.0} s", limit.as_secs_f64()),
            )
            .remedy("it waits for every transaction that is open on Traffic: let the long ones end, then begin again"))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Drops it: what is kept for it would fill Traffic's disk. False when somebody still streams from it.
pub async fn drop_unused(traffic: &Client, names: &Names) -> Result<bool> {
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
               WHERE slot_name = $1 AND NOT active";
    let slot = names.reverse_slot();
    let failed = |error| Error::database(format!("dropping the slot `{slot}` on Traffic"), &error);
    traffic.execute(sql, &[&slot]).await.map_err(failed)?;
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)";
    Ok(traffic.query_one(sql, &[&slot]).await.map_err(failed)?.get(0))
}
