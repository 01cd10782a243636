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

/// Lets go of a lock that this session has.
pub async fn give_back(client: &Client, name: &str, step: &str) -> Result<()> {
    let row = client.query_one("SELECT pg_advisory_unlock(hashtextextended($1, 0))", &[&name]).await;
    row.map(|_| ()).map_err(|error| Error::database(step, &error))
}
