//! The LMS writes and no lead changes: nothing reaches Traffic, and the slot must not keep the WAL of the
//! LMS.

use std::time::{Duration, Instant};

use super::daemon::{PATIENCE, in_vain};
use super::screen::Screen;
use super::setup::DemoSetup;
use super::{figures, lag};
use crate::error::{Error, Result};
use crate::model::names::qualified;
use crate::postgres::slot;
use crate::postgres::step::during;

/// Rows of the LMS; about 400 bytes of WAL each.
const EVENTS: i32 = 50_000;

#[derive(Debug)]
pub struct Noise {
    /// WAL that the LMS wrote.
    pub written: u64,
    /// WAL that the slot still keeps.
    pub retained: u64,
    /// Rows that the daemon applied meanwhile; the expected number is zero.
    pub rows_applied: u64,
}

/// The writers must have been stopped, and all changes applied.
pub async fn make(setup: &mut DemoSetup<'_>, screen: &mut Screen) -> Result<Noise> {
    let before = setup.landing_position().await?;
    let rows = setup.daemon()?.until("the daemon", |live| Some(live.rows_applied)).await?;
    write(setup).await?;
    let after = setup.landing_position().await?;
    let written = after.bytes_since(before);
    let daemon = setup.daemon()?;
    let rows_since = daemon
        .until("the noise to pass", |live| {
            screen.moving(&lag::reading(live));
            (live.applied_lsn >= Some(after)).then_some(live.rows_applied - rows)
        })
        .await?;
    let retained = let_go(setup, screen, written / 10).await?;
    Ok(Noise { written, retained, rows_applied: rows_since })
}

async fn write(setup: &DemoSetup<'_>) -> Result<()> {
    let table = |name| qualified(&setup.config.names.landing_schema, name);
    let sql = format!(
        "INSERT INTO {} (user_id, lesson_id, position_seconds, payload) \
         SELECT u.id, l.id, n, repeat('video ', 50) FROM generate_series(1, $1) AS n, \
             (SELECT id FROM {} LIMIT 1) AS u, (SELECT id FROM {} LIMIT 1) AS l",
        table("video_events"),
        table("users"),
        table("lessons"),
    );
    during(&setup.landing, "writing like the LMS").run(&sql, &[&EVENTS]).await.map(drop)
}

/// Waits until the slot keeps less than `enough`. A slot can release WAL only up to a point that the server
/// itself writes every few seconds and with every checkpoint, so the demo requests checkpoints to shorten the
/// wait.
async fn let_go(setup: &DemoSetup<'_>, screen: &mut Screen, enough: u64) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        during(&setup.landing, "a checkpoint on Landing").batch("CHECKPOINT").await?;
        let slot = slot::read(&setup.landing, &setup.config.names.slot).await?;
        let retained = slot.ok_or_else(|| Error::internal("the slot is gone"))?.retained_bytes;
        if retained < enough {
            return Ok(retained);
        }
        screen.moving(&format!("the slot keeps {}", figures::bytes(retained)));
        if Instant::now() > deadline {
            return Err(in_vain("the slot to let go of the LMS's WAL"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
