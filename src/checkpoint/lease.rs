//! The lease: one daemon applies for a slot, the others stand by (guarantees 1.5).

use std::time::Duration;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::model::names::Names;
use crate::postgres::advisory;

/// Interval at which a standby tries to take the lease.
const RETRY: Duration = Duration::from_secs(1);

/// Takes the lease: an advisory lock of the same session that writes to Traffic. The end of the session
/// releases the lease, and also makes every further commit of the former holder impossible.
async fn take(traffic: &Client, names: &Names) -> Result<bool> {
    advisory::take(traffic, &lock(names), TAKING).await
}

const TAKING: &str = "taking the lease on Traffic";

/// The name of the advisory lock on Traffic.
pub fn lock(names: &Names) -> String {
    format!("leadbridge/{}/{}", names.schema, names.slot)
}

/// Takes the lease, with attempts for up to a second, because a server needs a moment to notice that an
/// earlier session of this process has ended. False when another session still holds the lease.
pub async fn take_soon(traffic: &Client, names: &Names) -> Result<bool> {
    advisory::take_within(traffic, &lock(names), TAKING, RETRY).await
}

/// Waits until the lease is taken. Returns false when `shutdown` comes first.
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
