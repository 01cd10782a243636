//! Whether Landing has the rows of Traffic, while both databases are in use and changes flow back.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use uuid::Uuid;

use super::marker;
use crate::compare::reverse::{self, Compared};
use crate::error::{Kind, Result};
use crate::model::change::Table;
use crate::model::names::Names;

/// Largest number of differing rows that are rechecked.
const SUSPECTS: usize = 10_000;

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
    landing: &Client,
    traffic: &Client,
    names: &Names,
    table: Table,
    patience: Duration,
) -> Result<ReverseFindings> {
    let started = Instant::now();
    let all = reverse::compare(landing, traffic, names, &[table], SUSPECTS).await?;
    let rows = all.iter().map(|found| found.compared).sum();
    let differences = all.iter().map(Compared::differences).sum();
    let mut differing: Vec<Uuid> = all.iter().flat_map(ids).collect();
    if differences != differing.len() as u64 {
        // So many rows cannot be in flight.
        return Ok(ReverseFindings { rows, differences });
    }
    while !differing.is_empty() && started.elapsed() < patience {
        passed(traffic, names, patience.saturating_sub(started.elapsed())).await?;
        differing = ids(&reverse::compare_rows(landing, traffic, names, table, &differing).await?);
    }
    Ok(ReverseFindings { rows, differences: differing.len() as u64 })
}

fn ids(found: &Compared) -> Vec<Uuid> {
    found.examples.iter().map(|example| example.id).collect()
}

/// Waits until the stream has passed everything that Traffic has committed, or until `limit` is over.
async fn passed(traffic: &Client, names: &Names, limit: Duration) -> Result<()> {
    let sent = marker::latency(traffic, traffic, names, &names.reverse_slot(), 1, limit).await;
    match sent {
        Err(error) if error.kind() != Kind::Transient => Err(error),
        _ => Ok(()),
    }
}
