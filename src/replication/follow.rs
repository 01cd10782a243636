//! Moves Landing's slot during reverse replication, up to the positions that reverse replication has written
//! on Landing. Without the move, the slot would retain Landing's WAL without end, and after a rollback
//! forward replication would start before the changes that reverse replication wrote.
//!
//! The move is safe because Landing is fenced: before each position, reverse replication alone has written to
//! Landing's tables. Traffic has recorded each position already; the local store comes next, then the slot,
//! so that the slot never passes the local store and the local store never passes Traffic.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::PgLsn;

use super::Context;
use super::liveness::Work;
use crate::checkpoint::LocalPosition;
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::Session;
use crate::postgres::step::during;

/// Pause between two moves, because each move costs an fsync of the local store and decoding on Landing.
const PAUSE: Duration = Duration::from_secs(1);

/// Interval of the look at `idle_replication_slot_timeout` while the server has none, because the setting may
/// be changed.
const IDLE: Duration = Duration::from_secs(60);

/// Follows the positions until their channel closes; the last position is always stored. A slot that cannot
/// be moved is reported once and retried, because only a rollback needs the slot.
///
/// # Errors
/// The local store cannot be written.
pub async fn follow(
    context: Arc<Context>,
    local: LocalPosition,
    mut positions: watch::Receiver<Lsn>,
) -> Result<()> {
    let mut slot = ForwardSlot { context, session: None, complained: false, idle_for: PAUSE };
    loop {
        // Both branches are cancellation-safe: a position stays in its channel.
        tokio::select! {
            changed = positions.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(slot.idle_for) => {
                slot.keep_active().await;
                continue;
            }
        }
        let lsn = *positions.borrow_and_update();
        local.advance(lsn).await?;
        reach(Point::FollowStored);
        slot.advance(lsn).await;
        reach(Point::FollowAdvanced);
        let mut closing = positions.clone();
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = closing.wait_for(|_| false) => {}
        }
    }
}

struct ForwardSlot {
    context: Arc<Context>,
    session: Option<(Session, Work)>,
    complained: bool,
    /// Time without a move after which the slot is used again.
    idle_for: Duration,
}

impl ForwardSlot {
    async fn advance(&mut self, to: Lsn) {
        let context = Arc::clone(&self.context);
        // A half-open connection must not delay the end of the attempt.
        match context.liveness.guard(self.try_advance(to)).await {
            Ok(true) => self.complained = false,
            Ok(false) => self.complain("it is gone, or has lost its WAL"),
            Err(error) => {
                self.session = None;
                self.complain(&error.to_string());
            }
        }
    }

    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!("Landing's slot is not moved along, and a rollback will need it: {why}");
        }
    }

    /// Keeps the slot in use while Traffic is quiet, because PostgreSQL 18 and later invalidate a slot that
    /// was unused for `idle_replication_slot_timeout`. A move to the slot's current position counts as use.
    async fn keep_active(&mut self) {
        let context = Arc::clone(&self.context);
        match context.liveness.guard(self.try_keep_active()).await {
            Ok(Some(timeout)) => self.idle_for = (timeout / 3).min(IDLE),
            Ok(None) => self.idle_for = IDLE,
            Err(error) => {
                self.session = None;
                self.complain(&error.to_string());
            }
        }
    }

    /// Returns the time after which the server invalidates an idle slot; `None` for never.
    async fn try_keep_active(&mut self) -> Result<Option<Duration>> {
        let slot = self.context.names().slot.clone();
        let (session, work) = self.open().await?;
        work.busy();
        let step = during(session, "keeping Landing's slot active");
        // The unit of the setting is seconds.
        let sql = "SELECT setting::float8 FROM pg_settings WHERE name = 'idle_replication_slot_timeout'";
        let timeout = step.row_if_any(sql, &[]).await?;
        let timeout = timeout.map(|row| row.get::<_, f64>(0)).filter(|seconds| *seconds > 0.0);
        if timeout.is_some() {
            let sql = "SELECT pg_replication_slot_advance(slot_name, confirmed_flush_lsn) FROM pg_replication_slots \
                       WHERE slot_name::text = $1 AND NOT active AND wal_status IS DISTINCT FROM 'lost'";
            step.row_if_any(sql, &[&slot]).await?;
        }
        work.idle();
        Ok(timeout.map(Duration::from_secs_f64))
    }

    async fn open(&mut self) -> Result<&mut (Session, Work)> {
        let context = &self.context;
        Ok(match &mut self.session {
            Some(open) => open,
            none => {
                let session = context.config.landing.connect("slot").await?;
                let work = context.liveness.watch(&[(Side::Landing, &session)]);
                none.insert((session, work))
            }
        })
    }

    /// Returns false when Landing has no slot that can be moved.
    async fn try_advance(&mut self, to: Lsn) -> Result<bool> {
        let slot = self.context.names().slot.clone();
        let (session, work) = self.open().await?;
        work.busy();
        let sql = "SELECT CASE WHEN confirmed_flush_lsn < $2 THEN pg_replication_slot_advance(slot_name, $2) END \
                   FROM pg_replication_slots WHERE slot_name::text = $1 AND wal_status IS DISTINCT FROM 'lost'";
        let moved = during(session, "moving Landing's slot along")
            .row_if_any(sql, &[&slot, &PgLsn::from(to)])
            .await?;
        work.idle();
        Ok(moved.is_some())
    }
}
