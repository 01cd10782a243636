//! Advisory locks: exclusive rights that PostgreSQL releases when the holder's session ends.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::Result;
use crate::postgres::step::during;

/// Pause between two attempts to take a lock.
const LOOK: Duration = Duration::from_millis(100);

/// Takes the lock called `name` until the session ends. False when another session holds the lock.
pub async fn take(client: &Client, name: &str, step: &str) -> Result<bool> {
    let row =
        during(client, step).row("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", &[&name]).await?;
    Ok(row.get(0))
}

/// Repeats [`take`] until the lock is taken or `patience` is over, because a server needs a moment to notice
/// the end of a session.
pub async fn take_within(client: &Client, name: &str, step: &str, patience: Duration) -> Result<bool> {
    for _ in 0..patience.as_millis() / LOOK.as_millis() {
        if take(client, name, step).await? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Process ID of the backend that holds the lock; `None` when no session holds the lock.
pub async fn holder(client: &Client, name: &str, step: &str) -> Result<Option<i32>> {
    // `pg_locks` shows a 64-bit key as two 32-bit numbers: `classid` is the upper half, `objid` the lower
    // half.
    let sql = "SELECT l.pid FROM hashtextextended($1, 0) AS key, pg_locks AS l WHERE l.locktype = 'advisory' \
               AND l.granted AND l.objsubid = 1 AND l.classid = ((key >> 32) & 4294967295)::oid \
               AND l.objid = (key & 4294967295)::oid \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let row = during(client, step).row_if_any(sql, &[&name]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Releases a lock of this session.
pub async fn give_back(client: &Client, name: &str, step: &str) -> Result<()> {
    let sql = "SELECT pg_advisory_unlock(hashtextextended($1, 0))";
    during(client, step).row(sql, &[&name]).await.map(drop)
}
