//! Advisory locks: a right that one session has, and that goes with it.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::{Error, Result};

/// How often it is asked again.
const LOOK: Duration = Duration::from_millis(100);

/// Takes the lock of that name for as long as the session lives. False when another session has it.
pub async fn take(client: &Client, name: &str, step: &str) -> Result<bool> {
    let row = client.query_one("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", &[&name]).await;
    Ok(row.map_err(|error| Error::database(step, &error))?.get(0))
}

/// The same, asked for until `patience` is over: a server needs a moment to notice that a session has ended.
pub async fn take_within(client: &Client, name: &str, step: &str, patience: Duration) -> Result<bool> {
    for _ in 0..patience.as_millis() / LOOK.as_millis() {
        if take(client, name, step).await? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// The server process of the session that has the lock; `None` when no session has it.
pub async fn holder(client: &Client, name: &str, step: &str) -> Result<Option<i32>> {
    // A key of 64 bits is shown as two of 32.
    let sql = "SELECT l.pid FROM hashtextextended($1, 0) AS key, pg_locks AS l WHERE l.locktype = 'advisory' \
               AND l.granted AND l.objsubid = 1 AND l.classid = ((key >> 32) & 4294967295)::oid \
               AND l.objid = (key & 4294967295)::oid \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let row = client.query_opt(sql, &[&name]).await;
    Ok(row.map_err(|error| Error::database(step, &error))?.map(|row| row.get(0)))
}

/// Lets go of a lock that this session has.
pub async fn give_back(client: &Client, name: &str, step: &str) -> Result<()> {
    let row = client.query_one("SELECT pg_advisory_unlock(hashtextextended($1, 0))", &[&name]).await;
    row.map(|_| ()).map_err(|error| Error::database(step, &error))
}
