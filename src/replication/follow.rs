//! Moves Landing's slot during reverse replication, up to the positions that reverse replication has written
//! on Landing. Without the move, the slot would retain Landing's WAL without end, and after a rollback
//! forward replication would start before the changes that reverse replication wrote.
//!
//! The move is safe because Landing is fenced: before each position, reverse replication alone has written to
//! Landing's tables. Traffic has recorded each position already; the local store comes next, then the slot,
//! so that the slot never passes the local store and the local store never passes Traffic.

use std::time::Duration;

use tokio::sync::watch;

use super::forward_slot::ForwardSlot;
use crate::checkpoint::LocalPosition;
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::lsn::Lsn;

/// Pause between two moves, because each move costs an fsync of the local store and decoding on Landing.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Follows the positions until their channel closes; the last position is always stored.
///
/// # Errors
/// The local store cannot be written.
pub async fn follow(
    mut slot: ForwardSlot,
    local: LocalPosition,
    mut positions: watch::Receiver<Lsn>,
) -> Result<()> {
    loop {
        // Both branches are cancellation-safe: a position stays in its channel.
        tokio::select! {
            changed = positions.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(slot.idle_for) => {
                slot.follow(None, &local, &positions).await?;
                continue;
            }
        }
        let lsn = *positions.borrow_and_update();
        local.advance(lsn).await?;
        reach(Point::FollowStored);
        slot.follow(Some(lsn), &local, &positions).await?;
        reach(Point::FollowAdvanced);
        let mut closing = positions.clone();
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = closing.wait_for(|_| false) => {}
        }
    }
}
