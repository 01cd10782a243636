//! Markers: messages in the source's WAL. A marker comes out of the stream after everything committed before
//! the marker.
//!
//! Any role may write such a message, with leadbridge's prefix too. So a marker's id is random, the command announces
//! the id on Traffic first ([`expect`]), the daemon records announced markers only, and a marker counts from the
//! position on at which the command has written the marker: nobody can know the id before, and whoever learns the id
//! cannot write to an earlier position.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use crate::capture::framing::MARKER_PREFIX;
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::postgres::Database;
use crate::postgres::step::during;

/// Interval between two looks for a marker.
const LOOK: Duration = Duration::from_millis(3);

/// A marker in the source's WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    id: Uuid,
    /// A position before the marker, after everything that was written before.
    from: Lsn,
}

/// Announces markers on Traffic, in place of all earlier markers of the installation. The caller has the right to
/// decide, so no other command waits for a marker.
pub async fn expect(traffic: Database<'_>, slot: &str, ids: &[Uuid]) -> Result<()> {
    forget(traffic).await?;
    let sql = format!(
        "INSERT INTO {} (id, slot, lsn) SELECT id, $1, '0/0' FROM unnest($2::uuid[]) AS id",
        table(traffic)
    );
    traffic.during("announcing markers on Traffic").run(&sql, &[&slot, &ids]).await.map(drop)
}

/// Removes the installation's markers. The caller has the right to decide.
pub async fn forget(traffic: Database<'_>) -> Result<()> {
    let names = traffic.names;
    let sql = format!("DELETE FROM {} WHERE slot IN ($1, $2)", table(traffic));
    let step = traffic.during("taking markers away on Traffic");
    step.run(&sql, &[&names.slot, &names.reverse_slot()]).await.map(drop)
}

fn table(traffic: Database<'_>) -> String {
    traffic.names.own("markers")
}

/// Writes an announced marker into the source's WAL. The marker remains there whether or not an open transaction on
/// `source` commits, and is sent as soon as the server has flushed the WAL: see [`flush`].
pub async fn write(source: &Client, id: Uuid) -> Result<Marker> {
    // The position is read first: the columns of a result are computed in their order.
    let sql = "SELECT pg_current_wal_insert_lsn(), pg_logical_emit_message(false, $1, $2)";
    let row = during(source, "writing a marker").row(sql, &[&MARKER_PREFIX, &id.to_string()]).await?;
    Ok(Marker { id, from: row.get::<_, PgLsn>(0).into() })
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
    pub async fn of(&self, marker: Marker, limit: Duration) -> Result<Lsn> {
        let sql =
            format!("SELECT lsn FROM {} WHERE id = $1 AND slot = $2 AND lsn >= $3", table(self.traffic));
        let from = PgLsn::from(marker.from);
        let step = self.traffic.during("looking for a marker on Traffic");
        let look = step.prepare(&sql).await?;
        let started = Instant::now();
        loop {
            if let Some(row) = step.row_if_any(&look, &[&marker.id, &self.slot, &from]).await? {
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
                .remedy(message!("cutover-remedy-marker-late")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends markers from `source` one after the other, and deletes the markers' rows. The caller has the right to
    /// decide.
    ///
    /// # Errors
    /// Transient when a marker does not arrive within `limit`.
    pub async fn latency(&self, source: &Client, count: usize, limit: Duration) -> Result<Latency> {
        let ids: Vec<Uuid> = (0..count.max(1)).map(|_| Uuid::new_v4()).collect();
        expect(self.traffic, self.slot, &ids).await?;
        let mut seconds = Vec::with_capacity(ids.len());
        let mut outcome = Ok(());
        for id in ids {
            let started = Instant::now();
            let marker = write(source, id).await?;
            flush(source).await?;
            if let Err(error) = self.of(marker, limit).await {
                outcome = Err(error);
                break;
            }
            seconds.push(started.elapsed().as_secs_f64());
        }
        forget(self.traffic).await?;
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
