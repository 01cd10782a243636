//! The slot on Traffic for reverse replication, before the daemon streams from the slot.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::model::names::Names;

/// Creates the slot, and replaces a slot that an earlier attempt has left. From then on, Traffic keeps the
/// WAL of every commit for the slot.
///
/// # Errors
/// Transient when open transactions on Traffic delay the slot for longer than `limit`, or when another
/// session streams from the slot.
pub async fn create(traffic: &Client, names: &Names, limit: Duration) -> Result<()> {
    drop_unused(traffic, names).await?;
    let slot = names.reverse_slot();
    let failed = |error| Error::database(format!("creating the slot `{slot}` on Traffic"), &error);
    // The server waits for open transactions. A time limit on the client alone would leave the server
    // waiting.
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
                format!(
                    "the slot `{slot}` could not be created on Traffic within {:.0} s",
                    limit.as_secs_f64()
                ),
            )
            .remedy(
                "it waits for every transaction that is open on Traffic: let long transactions end, then \
                     try again",
            ))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Drops the slot, because the WAL that the server keeps for the slot would fill Traffic's disk. Returns
/// false when a session still streams from the slot.
pub async fn drop_unused(traffic: &Client, names: &Names) -> Result<bool> {
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
               WHERE slot_name = $1 AND NOT active";
    let slot = names.reverse_slot();
    let failed = |error| Error::database(format!("dropping the slot `{slot}` on Traffic"), &error);
    traffic.execute(sql, &[&slot]).await.map_err(failed)?;
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)";
    Ok(traffic.query_one(sql, &[&slot]).await.map_err(failed)?.get(0))
}
