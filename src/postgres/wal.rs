//! A server's WAL position and clock, and which transactions a snapshot sees.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::postgres::step::during;

/// A server's WAL and clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// End of the durable WAL; only durable WAL can be decoded.
    pub flushed: Lsn,
    /// End of the WAL written into WAL buffers: ahead of `flushed` by asynchronous commits only.
    pub inserted: Lsn,
    pub now: Timestamp,
}

pub async fn sample(client: &Client) -> Result<Sample> {
    let sql = "SELECT pg_current_wal_flush_lsn(), pg_current_wal_insert_lsn(), clock_timestamp()";
    let row = during(client, "reading the WAL position").row(sql, &[]).await?;
    let lsn = |column: usize| Lsn::from(row.get::<_, PgLsn>(column));
    Ok(Sample { flushed: lsn(0), inserted: lsn(1), now: row.get(2) })
}

/// The position after every commit so far. An asynchronous commit is in WAL buffers before the commit is on
/// disk, so the buffers' position counts, unless nothing makes the server write the buffers.
pub async fn committed_so_far(client: &Client) -> Result<Lsn> {
    let first = sample(client).await?;
    let mut latest = first;
    // The WAL writer flushes asynchronous commits within three of its rounds (0.6 s by default).
    for _ in 0..10 {
        if latest.flushed >= first.inserted {
            return Ok(first.inserted);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        latest = sample(client).await?;
    }
    Ok(latest.flushed)
}

/// The oldest transaction still running in the session's own snapshot, as text: the snapshot sees everything that earlier
/// transactions committed.
pub const OLDEST_RUNNING: &str = "pg_snapshot_xmin(pg_current_snapshot())::text";

/// [`OLDEST_RUNNING`] of this moment.
pub async fn oldest_running(client: &Client) -> Result<String> {
    let row = during(client, "reading a snapshot").row(&format!("SELECT {OLDEST_RUNNING}"), &[]).await?;
    Ok(row.get(0))
}

/// Waits until every transaction with an id before `xid`, a text of the server, is over and visible.
///
/// # Errors
/// Transient when one of them lasts longer than `limit`.
pub async fn until_over(database: Database<'_>, xid: &str, limit: Duration) -> Result<()> {
    let step = database.during("waiting for older transactions");
    let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8";
    let started = Instant::now();
    while !step.row(sql, &[&xid]).await?.get::<_, bool>(0) {
        if started.elapsed() >= limit {
            let message = format!("a transaction that writes is open on the {} for too long", database.side);
            return Err(
                Error::new(Kind::Transient, message).remedy(message!("postgres-remedy-oldest-transaction"))
            );
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Pause between two checks whether the transactions are visible.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until a new snapshot on the server sees the transactions `xids`.
///
/// The stream sends a transaction as soon as the commit is in WAL. Other sessions see the transaction a
/// moment later, or much later where the commit waits for a synchronous standby. A row read before then is
/// older than the streamed changes.
pub async fn until_visible(client: &Client, xids: &[u32]) -> Result<()> {
    // The stream gives the low 32 bits of a transaction id. Of the 64-bit ids with these low bits, the id
    // nearest to the snapshot's is meant.
    let sql = "SELECT bool_and(pg_visible_in_snapshot(full_xid::text::xid8, now)) FROM (
                   SELECT now, x + (pg_snapshot_xmax(now)::text::bigint - x + 2147483648) / 4294967296 * 4294967296
                   FROM unnest($1::bigint[]) AS x, pg_current_snapshot() AS now) AS seen (now, full_xid)";
    let xids: Vec<i64> = xids.iter().copied().map(i64::from).collect();
    loop {
        let seen = during(client, "reading a snapshot").row(sql, &[&xids]).await?;
        if seen.get::<_, Option<bool>>(0) != Some(false) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
