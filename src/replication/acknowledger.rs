//! The acknowledger: takes a position from Traffic's commit to the local store, and then to the slot
//! (guarantees 1.3).

use tokio::sync::watch;

use crate::checkpoint::{Identity, LocalStore};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::model::lsn::Lsn;
use crate::model::reached::Advancing;

/// Writes each position that Traffic has committed to the local store, then passes the position on to be
/// acknowledged. Positions that arrive during a write are skipped in favour of the newest position, because
/// only the last position matters. Ends when `committed` closes.
pub async fn keep(
    store: LocalStore,
    identity: Identity,
    mut committed: watch::Receiver<Lsn>,
    acknowledge: Advancing,
) -> Result<()> {
    while committed.changed().await.is_ok() {
        let lsn = *committed.borrow_and_update();
        let (store, identity) = (store.clone(), identity.clone());
        // Runs on a blocking thread, because an fsync may take long and must not block the runtime's threads.
        tokio::task::spawn_blocking(move || store.advance(&identity, lsn))
            .await
            .map_err(|error| Error::internal(format!("writing the local store: {error}")))??;
        reach(Point::StoreFlushed);
        acknowledge.advance(lsn);
    }
    Ok(())
}
