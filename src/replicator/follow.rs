//! After the switch, Landing's own slot is moved along behind what we write there: it must not hold WAL back, and a
//! rollback streams on from a position behind which nothing is ours.
//!
//! Safe because Landing is fenced: nobody else has written to its tables before the positions that come here. Traffic
//! has each of them already; then the local store, then the slot, so that the order of the three positions holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::PgLsn;

use super::Context;
use super::liveness::Work;
use crate::checkpoint::Identity;
use crate::database::{Session, Side};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::lsn::Lsn;

/// Between two moves: each is an fsync here, and decoding there.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the positions until their channel closes; the last one counts in any case. A slot that cannot be moved is
/// said once, and tried again: only a rollback needs it.
///
/// # Errors
/// The local store cannot be written.
pub async fn follow(
    context: Arc<Context>,
    identity: Identity,
    mut positions: watch::Receiver<Lsn>,
) -> Result<()> {
    let mut slot = ForwardSlot { context: Arc::clone(&context), session: None, complained: false };
    while positions.changed().await.is_ok() {
        let lsn = *positions.borrow_and_update();
        let (store, identity) = (context.store.clone(), identity.clone());
        tokio::task::spawn_blocking(move || store.advance(&identity, lsn))
            .await
            .map_err(|error| Error::internal(format!("writing the local store: {error}")))??;
        reach(Point::FollowStored);
        slot.advance(lsn).await;
        reach(Point::FollowAdvanced);
        let mut closing = positions.clone();
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = closing.wait_for(|_| false) => {}
        }
    }
    Ok(())
}

struct ForwardSlot {
    context: Arc<Context>,
    session: Option<(Session, Work)>,
    complained: bool,
}

impl ForwardSlot {
    async fn advance(&mut self, to: Lsn) {
        let context = Arc::clone(&self.context);
        // A connection that dies without a word must not hold up the end of the attempt.
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

    /// False when there is no slot that could be moved.
    async fn try_advance(&mut self, to: Lsn) -> Result<bool> {
        let context = &self.context;
        let (session, work) = match &mut self.session {
            Some(open) => open,
            none => {
                let session = context.config.landing.connect("slot").await?;
                let work = context.liveness.watch(&[(Side::Landing, &session)]);
                none.insert((session, work))
            }
        };
        work.goes_on();
        let sql = "SELECT CASE WHEN confirmed_flush_lsn < $2 THEN pg_replication_slot_advance(slot_name, $2) END \
                   FROM pg_replication_slots WHERE slot_name::text = $1 AND wal_status IS DISTINCT FROM 'lost'";
        let moved = session.query_opt(sql, &[&context.config.names.slot, &PgLsn::from(to)]).await;
        work.rests();
        Ok(moved.map_err(|error| Error::database("moving Landing's slot along", &error))?.is_some())
    }
}
