//! The newest cutover or rollback, when it was aborted.

use super::journal::READING;
use crate::error::Result;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;

/// A cutover or rollback that was aborted, and after which none was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortedRun {
    pub id: String,
    /// `cutover` or `rollback`.
    pub direction: String,
    pub reason: Option<String>,
    /// By Traffic's clock.
    pub at: Timestamp,
}

/// `None` when the newest cutover or rollback was not aborted, or when there was none.
///
/// # Errors
/// Traffic cannot be queried.
pub async fn newest(traffic: Database<'_>) -> Result<Option<AbortedRun>> {
    let sql = format!(
        "SELECT id::text, direction, reason, finished_at FROM (SELECT * FROM {} WHERE slot = $1 \
         ORDER BY started_at DESC LIMIT 1) AS newest WHERE state = 'aborted' AND finished_at IS NOT NULL",
        traffic.names.own("cutover")
    );
    let row = traffic.during(READING).row_if_any(&sql, &[&traffic.names.slot]).await?;
    Ok(row.map(|row| AbortedRun {
        id: row.get(0),
        direction: row.get(1),
        reason: row.get(2),
        at: row.get(3),
    }))
}
