//! The slot on Traffic for reverse replication, before the daemon streams from the slot.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::error::{Error, Kind, Result};
use crate::postgres::Database;

/// Creates the slot, and replaces a slot that an earlier attempt has left. From then on, Traffic keeps the
/// WAL of every commit for the slot.
///
/// # Errors
/// Transient when open transactions on Traffic delay the slot for longer than `limit`, or when another
/// session streams from the slot.
pub async fn create(traffic: Database<'_>, limit: Duration) -> Result<()> {
    drop_unused(traffic).await?;
    let slot = traffic.names.reverse_slot();
    let step = traffic.during(format!("creating the slot `{slot}` on Traffic"));
    // The server waits for open transactions. A time limit on the client alone would leave the server
    // waiting.
    let limited = format!("SET statement_timeout = '{}ms'", limit.as_millis().max(1));
    step.batch(&limited).await?;
    let created = step.run("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await;
    step.batch("SET statement_timeout = 0").await?;
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.sqlstate() == Some(&SqlState::QUERY_CANCELED) => {
            drop_unused(traffic).await?;
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
        Err(error) => Err(error),
    }
}

/// Drops the slot, because the WAL that the server keeps for the slot would fill Traffic's disk. Returns
/// false when a session still streams from the slot.
pub async fn drop_unused(traffic: Database<'_>) -> Result<bool> {
    let slot = traffic.names.reverse_slot();
    let step = traffic.during(format!("dropping the slot `{slot}` on Traffic"));
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
               WHERE slot_name = $1 AND NOT active";
    step.run(sql, &[&slot]).await?;
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)";
    Ok(step.row(sql, &[&slot]).await?.get(0))
}
