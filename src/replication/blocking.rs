//! The sessions that block leadbridge, for the status.

use tokio_postgres::Client;

use crate::error::Result;
use crate::model::side::Side;
use crate::postgres::Backend;
use crate::postgres::blockers::{self, Blocker};
use crate::telemetry::BlockingSession;

/// Who holds locks on `side` for which a session of `waiting` has waited for a second or more.
///
/// # Errors
/// The connection broke.
pub async fn sessions(client: &Client, side: Side, waiting: &[Backend]) -> Result<Vec<BlockingSession>> {
    of_processes(client, side, &waiting.iter().map(|backend| backend.pid).collect::<Vec<_>>()).await
}

/// The same for sessions by their process ids.
///
/// # Errors
/// The connection broke.
pub async fn of_processes(client: &Client, side: Side, waiting: &[i32]) -> Result<Vec<BlockingSession>> {
    let reported = |blocker: Blocker| BlockingSession {
        side,
        pid: blocker.pid,
        role: blocker.role,
        application_name: blocker.application,
        client_address: blocker.client,
        transaction_seconds: blocker.transaction_seconds,
        waited_seconds: blocker.waited_seconds,
    };
    Ok(blockers::of(client, waiting).await?.into_iter().map(reported).collect())
}
