//! The lease: one daemon applies for a slot, the others stand by (guarantees 1.5).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::postgres::Database;
use crate::postgres::advisory::{self, ExclusiveRight, Holder};

/// Interval at which a standby tries to take the lease.
const RETRY: Duration = Duration::from_secs(1);

const TAKING: &str = "taking the lease on Traffic";

/// Result of taking the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// This session holds the lease, an advisory lock of the same session that writes to Traffic. The end of the
    /// session releases the lease, and also makes every further commit of the former holder impossible.
    Taken,
    /// Another session of leadbridge holds the lease; `None` if it has let go since.
    HeldBy(Option<Holder>),
}

impl Lease {
    pub fn is_taken(&self) -> bool {
        *self == Lease::Taken
    }

    /// The holder, if another session holds the lease.
    pub fn other(&self) -> Option<&Holder> {
        match self {
            Lease::HeldBy(holder) => holder.as_ref(),
            Lease::Taken => None,
        }
    }

    /// The holder as a part of a sentence.
    pub fn holder(&self) -> String {
        match self {
            Lease::HeldBy(Some(holder)) => holder.to_string(),
            Lease::Taken | Lease::HeldBy(None) => "a session that has just ended".to_owned(),
        }
    }
}

/// Takes the lease, with attempts for up to a second, because a server needs a moment to notice that an
/// earlier session of this process has ended.
///
/// # Errors
/// Refused when a session that is not leadbridge's holds the lease.
pub async fn take_soon(traffic: Database<'_>) -> Result<Lease> {
    let key = ExclusiveRight::Lease.key(traffic.names);
    match advisory::take_within(traffic.client, &key, TAKING, RETRY).await? {
        true => Ok(Lease::Taken),
        false => held(traffic).await,
    }
}

async fn held(traffic: Database<'_>) -> Result<Lease> {
    Ok(Lease::HeldBy(advisory::own_holders(traffic, ExclusiveRight::Lease).await?.into_iter().next()))
}

/// Waits until the lease is taken, and tells each other holder of the lease. Returns false when `shutdown` comes
/// first.
///
/// # Errors
/// Refused when a session that is not leadbridge's holds the lease.
pub async fn wait(
    traffic: Database<'_>,
    shutdown: &CancellationToken,
    mut tell: impl FnMut(&Lease),
) -> Result<bool> {
    let key = ExclusiveRight::Lease.key(traffic.names);
    let mut known = Lease::Taken;
    loop {
        if advisory::take(traffic.client, &key, TAKING).await? {
            return Ok(true);
        }
        let lease = held(traffic).await?;
        if lease != known && lease != Lease::HeldBy(None) {
            tell(&lease);
            known = lease;
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}
