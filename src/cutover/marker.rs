//! Markers: messages in the source's WAL. A marker comes out of the stream after everything committed before
//! the marker.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use crate::capture::framing::MARKER_PREFIX;
use crate::error::{Error, Kind, Result};
use crate::model::lsn::Lsn;
use crate::postgres::Database;
use crate::postgres::step::during;

/// Interval between two looks for a marker.
const LOOK: Duration = Duration::from_millis(3);

/// Writes a marker into the source's WAL, and returns the marker's position. The marker remains there whether
/// or not an open transaction on `source` commits, and is sent as soon as the server has flushed the WAL: see
/// [`flush`].
pub async fn write(source: &Client, id: Uuid) -> Result<Lsn> {
    let sql = "SELECT pg_logical_emit_message(false, $1, $2)";
    let row = during(source, "writing a marker").row(sql, &[&MARKER_PREFIX, &id.to_string()]).await?;
    Ok(row.get::<_, PgLsn>(0).into())
}

/// Makes the server flush the WAL written so far, by a commit, because every version of PostgreSQL flushes a
/// commit immediately. Needs a session without a transaction.
pub async fn flush(source: &Client) -> Result<()> {
    let sql = "SELECT pg_logical_emit_message(true, $1, 'flush')";
    during(source, "flushing a marker").row(sql, &[&MARKER_PREFIX]).await.map(drop)
}

/// Arrival of the markers that come through the stream of one slot.
pub struct MarkerArrival<'c> {
    pub traffic: Database<'c>,
    pub slot: &'c str,
}

/// Times of markers from the source's WAL to the row on Traffic, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    pub markers: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl MarkerArrival<'_> {
    /// Waits for a marker. After the arrival, everything before the marker is committed on the other side.
    ///
    /// # Errors
    /// Transient when the marker does not arrive within `limit`.
    pub async fn of(&self, id: Uuid, limit: Duration) -> Result<Lsn> {
        let sql =
            format!("SELECT lsn FROM {} WHERE id = $1 AND slot = $2", self.traffic.names.own("markers"));
        let step = self.traffic.during("looking for a marker on Traffic");
        let look = step.prepare(&sql).await?;
        let started = Instant::now();
        loop {
            if let Some(row) = step.row_if_any(&look, &[&id, &self.slot]).await? {
                return Ok(row.get::<_, PgLsn>(0).into());
            }
            if started.elapsed() >= limit {
                return Err(Error::new(
                    Kind::Transient,
                    format!(
                        "a marker did not come through the stream of `{}` within {:.1} s",
                        self.slot,
                        limit.as_secs_f64()
                    ),
                )
                .remedy("does the daemon run, and is its lag small (`leadbridge status`)?"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends markers from `source` one after the other, and deletes the markers' rows.
    ///
    /// # Errors
    /// Transient when a marker does not arrive within `limit`.
    pub async fn latency(&self, source: &Client, count: usize, limit: Duration) -> Result<Latency> {
        let (mut seconds, mut ids) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut outcome = Ok(());
        for _ in 0..count.max(1) {
            let id = Uuid::new_v4();
            ids.push(id);
            let started = Instant::now();
            write(source, id).await?;
            flush(source).await?;
            if let Err(error) = self.of(id, limit).await {
                outcome = Err(error);
                break;
            }
            seconds.push(started.elapsed().as_secs_f64());
        }
        let sql = format!("DELETE FROM {} WHERE id = ANY ($1)", self.traffic.names.own("markers"));
        self.traffic.during("taking markers away on Traffic").run(&sql, &[&ids]).await?;
        outcome.map(|()| summary(seconds))
    }
}

fn summary(mut seconds: Vec<f64>) -> Latency {
    seconds.sort_unstable_by(f64::total_cmp);
    // The nearest rank: the smallest value not exceeded by the given share of the values.
    let rank = |share: f64| {
        let at = (share * seconds.len() as f64).ceil() as usize;
        seconds.get(at.saturating_sub(1)).copied().unwrap_or_default()
    };
    Latency { markers: seconds.len(), p50: rank(0.5), p99: rank(0.99), max: rank(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(summary(hundred), Latency { markers: 100, p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(summary(vec![7.0]), Latency { markers: 1, p50: 7.0, p99: 7.0, max: 7.0 });
    }
}
