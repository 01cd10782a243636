//! Whether Landing has the rows of Traffic, while both databases are in use and changes flow back.

use std::time::{Duration, Instant};

use super::marker::MarkerArrival;
use crate::compare::reverse;
use crate::error::{Kind, Result};
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::Databases;

/// Largest number of differing rows that are rechecked.
const SUSPECTS: u64 = 10_000;

/// Result of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ReverseFindings {
    pub rows: u64,
    /// Rows that differ although the stream has passed the rows' changes.
    pub differences: u64,
}

/// Compares a table. Rows in flight are rechecked after a marker has arrived, until the rows are equal or
/// `patience` is over.
pub(super) async fn compare(
    databases: Databases<'_>,
    table: Table,
    patience: Duration,
) -> Result<ReverseFindings> {
    let started = Instant::now();
    let found = reverse::compare(databases, table).await?;
    let (rows, differences) = (found.landing_rows - found.extra, found.differences());
    if differences > SUSPECTS {
        // So many rows cannot be in flight.
        return Ok(ReverseFindings { rows, differences });
    }
    let mut differing = found.unlike();
    while !differing.is_empty() && started.elapsed() < patience {
        passed(databases, patience.saturating_sub(started.elapsed())).await?;
        differing = reverse::compare_rows(databases, table, &differing).await?.unlike();
    }
    Ok(ReverseFindings { rows, differences: differing.len() as u64 })
}

/// Waits until the stream has passed everything that Traffic has committed, or until `limit` is over.
async fn passed(databases: Databases<'_>, limit: Duration) -> Result<()> {
    let Databases { traffic, names, .. } = databases;
    let arrival = MarkerArrival { traffic: databases.on(Side::Traffic), slot: &names.reverse_slot() };
    let sent = arrival.latency(traffic, 1, limit).await;
    match sent {
        Err(error) if error.kind() != Kind::Transient => Err(error),
        _ => Ok(()),
    }
}
