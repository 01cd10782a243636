//! One daemon applies for a slot; the others stand by (guarantees 1.5).

use std::time::Duration;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::database::advisory;
use crate::error::Result;
use crate::names::Names;

/// How often a daemon that stands by asks again.
const RETRY: Duration = Duration::from_secs(1);

/// Takes the lease: an advisory lock of the very session that will write to Traffic. When that session is gone,
/// so is the lease, and nothing can be committed in its name any more.
async fn take(traffic: &Client, names: &Names) -> Result<bool> {
    advisory::take(traffic, &lock(names), TAKING).await
}

const TAKING: &str = "taking the lease on Traffic";

/// The name of the advisory lock on Traffic.
pub fn lock(names: &Names) -> String {
    format!("leadbridge/{}/{}", names.schema, names.slot)
}

/// Takes the lease, or finds out within a second that somebody holds it who does not let go: a server needs a
/// moment to notice that an earlier session of ours has ended.
pub async fn take_soon(traffic: &Client, names: &Names) -> Result<bool> {
    advisory::take_within(traffic, &lock(names), TAKING, RETRY).await
}

/// Waits until the lease is ours. Returns false when `shutdown` came first.
pub async fn wait(traffic: &Client, names: &Names, shutdown: &CancellationToken) -> Result<bool> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            () = tokio::time::sleep(RETRY) => {}
        }
        if take(traffic, names).await? {
            return Ok(true);
        }
    }
}
