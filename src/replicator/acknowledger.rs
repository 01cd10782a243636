//! From Traffic's commit to the slot: the local store first, then the acknowledgement (guarantees 1.3).

use tokio::sync::watch;

use crate::checkpoint::{Identity, LocalStore};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::lsn::Lsn;
use crate::reached::Advancing;

/// Writes down each position that Traffic has committed, then hands it on to be acknowledged. Positions that come
/// while one is being written are passed over for the newest: only the last matters. Ends when `committed` closes.
pub async fn keep(
    store: LocalStore,
    identity: Identity,
    mut committed: watch::Receiver<Lsn>,
    acknowledge: Advancing,
) -> Result<()> {
    while committed.changed().await.is_ok() {
        let lsn = *committed.borrow_and_update();
        let (store, identity) = (store.clone(), identity.clone());
        // An fsync may take long: it must not hold up the runtime's threads.
        tokio::task::spawn_blocking(move || store.advance(&identity, lsn))
            .await
            .map_err(|error| Error::internal(format!("writing the local store: {error}")))??;
        reach(Point::StoreFlushed);
        acknowledge.advance(lsn);
    }
    Ok(())
}
