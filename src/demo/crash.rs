//! A kill -9 at the worst moment: Traffic's rows are written, the checkpoint of the same transaction is not.

use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;

use super::daemon::{PATIENCE, in_vain};
use super::lag::Lock;
use super::setup::DemoSetup;
use crate::error::{Error, Result};
use crate::model::lsn::Lsn;
use crate::postgres::step::during;

#[derive(Debug)]
pub struct Recovery {
    /// The checkpoint that the killed daemon left on Traffic.
    pub checkpoint: Lsn,
    /// Bytes of WAL from the checkpoint to Landing's position at the start of the new daemon.
    pub behind: u64,
    /// Time from the start of the new daemon until all of these changes were on Traffic.
    pub took: Duration,
}

/// Kills the daemon in the middle of a transaction and starts another daemon.
pub async fn kill_and_recover(setup: &mut DemoSetup<'_>) -> Result<Recovery> {
    let lock = lock_half_a_transaction(setup).await?;
    let daemon = setup.daemon.take().ok_or_else(|| Error::internal("no daemon runs"))?;
    daemon.kill().await?;
    lock.release().await?;
    let checkpoint = checkpoint(setup).await?;
    let everything = setup.landing_position().await?;
    let started = Instant::now();
    let daemon = setup.start_daemon()?;
    daemon.until("the recovery", |live| (live.applied_lsn >= Some(everything)).then_some(())).await?;
    Ok(Recovery { checkpoint, behind: everything.bytes_since(checkpoint), took: started.elapsed() })
}

/// Locks the checkpoint, and returns when the daemon's transaction has written something and waits for this lock. A batch
/// writes its position last, so its rows are written by then. A daemon that was about to record a position alone waits
/// without rows; the lock is taken anew then.
async fn lock_half_a_transaction(setup: &DemoSetup<'_>) -> Result<Lock> {
    let table = setup.config.names.own("checkpoint");
    let sql = "SELECT backend_xid IS NOT NULL FROM pg_catalog.pg_stat_activity \
               WHERE datname = pg_catalog.current_database() AND application_name = 'leadbridge apply' \
               AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + PATIENCE;
    let mut lock = Lock::take(setup, &table).await?;
    while Instant::now() < deadline {
        let waiting =
            during(&setup.traffic, "looking for the daemon's transaction").row_if_any(sql, &[]).await?;
        match waiting.map(|waiting| waiting.get(0)) {
            Some(true) => return Ok(lock),
            Some(false) => {
                lock.release().await?;
                lock = Lock::take(setup, &table).await?;
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    Err(in_vain("the daemon to be in the middle of a transaction"))
}

async fn checkpoint(setup: &DemoSetup<'_>) -> Result<Lsn> {
    let sql = format!("SELECT applied_lsn FROM {} WHERE slot = $1", setup.config.names.own("checkpoint"));
    let row = during(&setup.traffic, "reading the checkpoint").row(&sql, &[&setup.config.names.slot]).await?;
    Ok(row.get::<_, PgLsn>(0).into())
}
