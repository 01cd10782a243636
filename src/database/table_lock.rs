//! The table lock (ACCESS SHARE) that comes before a snapshot.
//!
//! ALTER TABLE with a rewrite and TRUNCATE are not MVCC-safe: to every snapshot taken before their commit the table is
//! empty. A repeatable-read transaction takes its one snapshot when its first query is parsed, before that query waits
//! for the table's lock; so a query that waited behind such a statement finds no row. `LOCK TABLE` takes no snapshot:
//! the snapshot after it is newer than every rewrite, and no rewrite can follow while the transaction lasts.
//!
//! A read-committed statement needs no lock of ours. PostgreSQL parses and plans it, locks every table that it names,
//! and only then takes the snapshot that it is executed with.

use std::time::{Duration, Instant};

use postgres_protocol::escape::escape_literal;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Side, holders};
use crate::error::{Error, Kind, Result};

/// How long one try waits in the queue for the lock, before it is said who is in the way.
const TRY: Duration = Duration::from_secs(5);

/// How a transaction, or a part of one, begins, and how it is undone.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'o> {
    pub begin: &'o str,
    pub undo: &'o str,
}

/// A transaction that sees one moment.
pub const ONE_SNAPSHOT: Opening<'_> =
    Opening { begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", undo: "ROLLBACK" };

/// Opens it, and locks `tables` of `side` against whatever changes their storage, for as long as it lasts. Then runs
/// `query`, which may be empty, in the same round trip, and answers what it said.
///
/// The lock goes together with every reader and writer. Who holds it up is logged; without `patience` it is waited for
/// as long as that takes, since a lock may be held for hours.
///
/// # Errors
/// Transient, with who is in the way, when `patience` is over; those of the database. Nothing is open then.
pub async fn open(
    client: &Client,
    side: Side,
    opening: Opening<'_>,
    tables: &[String],
    query: &str,
    patience: Option<Duration>,
) -> Result<Vec<SimpleQueryMessage>> {
    let started = Instant::now();
    let list = tables.join(", ");
    let limit = TRY.min(patience.unwrap_or(TRY)).as_millis().max(1);
    let sql = format!(
        "{}; SET LOCAL lock_timeout = {limit}; LOCK TABLE {list} IN ACCESS SHARE MODE; SET LOCAL lock_timeout = 0; {query}",
        opening.begin
    );
    let step = || format!("locking {list} on the {side} before the tables are read");
    loop {
        let error = match client.simple_query(&sql).await {
            Ok(said) => return Ok(said),
            Err(error) => error,
        };
        let is_held = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        client.batch_execute(opening.undo).await.map_err(|error| Error::database(step(), &error))?;
        if !is_held {
            return Err(Error::database(step(), &error));
        }
        let who = in_the_way(client, tables).await?;
        if patience.is_some_and(|patience| started.elapsed() >= patience) {
            return Err(Error::new(
                Kind::Transient,
                format!("{list} on the {side} could not be locked against a rewrite: held by {who}"),
            )
            .remedy("wait for that transaction to end, or end it, and begin again"));
        }
        tracing::warn!("{list} on the {side} cannot be read: waiting for {who}");
    }
}

/// Only ACCESS EXCLUSIVE is in the way of ACCESS SHARE; who waits for it, too.
async fn in_the_way(client: &Client, tables: &[String]) -> Result<String> {
    let names: Vec<String> = tables.iter().map(|table| escape_literal(table)).collect();
    let tables = format!("SELECT to_regclass(name) FROM unnest(ARRAY[{}]) AS name", names.join(", "));
    let held = holders::of(client, &tables, "l.mode = 'AccessExclusiveLock'").await?;
    let held: Vec<String> = held.into_values().collect();
    Ok(if held.is_empty() { "somebody who has gone".to_owned() } else { held.join("; ") })
}
