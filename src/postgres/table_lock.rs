//! The table lock (ACCESS SHARE) before a snapshot.
//!
//! TRUNCATE and an ALTER TABLE with a rewrite are not MVCC-safe: every snapshot taken before the commit sees
//! an empty table. A repeatable-read transaction takes its only snapshot when the first query is parsed,
//! before the query waits for the table's lock. A query that has waited for a rewrite therefore finds no row.
//! `LOCK TABLE` takes no snapshot: the snapshot after the lock is newer than every rewrite, and no rewrite
//! can follow while the transaction lasts.
//!
//! A read-committed statement needs no explicit lock. PostgreSQL parses and plans the statement, locks every
//! table in the statement, and only then takes the snapshot for the execution.

use std::time::{Duration, Instant};

use postgres_protocol::escape::escape_literal;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::holders;
use crate::error::{Error, Kind, Result};
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::step::during;

/// Time limit of an attempt to get the lock. After each failed attempt, the holders of the lock are logged.
const TRY: Duration = Duration::from_secs(5);

/// SQL that begins a transaction or a part of a transaction, and SQL that undoes the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'o> {
    pub begin: &'o str,
    pub undo: &'o str,
}

/// A transaction with a single snapshot.
pub const ONE_SNAPSHOT: Opening<'_> =
    Opening { begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", undo: "ROLLBACK" };

/// Begins with `opening`, and locks `tables` of `side` against changes of their storage until the end of the
/// transaction, or of the part. Runs `query`, which may be empty, in the same round trip, and returns the
/// server's answers.
///
/// The lock conflicts with no reader and no writer. Holders of a conflicting lock are logged. Without
/// `patience` the wait has no limit, because a lock may be held for hours.
///
/// # Errors
/// `Transient`, with the holders, when `patience` is over; errors of the database. After an error nothing is
/// open.
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
        during(client, step()).batch(opening.undo).await?;
        if !is_held {
            return Err(Error::database(step(), &error));
        }
        let who = in_the_way(client, tables).await?;
        if patience.is_some_and(|patience| started.elapsed() >= patience) {
            return Err(Error::new(
                Kind::Transient,
                format!("{list} on the {side} could not be locked against a rewrite: held by {who}"),
            )
            .remedy(message!("postgres-remedy-table-lock")));
        }
        tracing::warn!("{list} on the {side} cannot be read: waiting for {who}");
    }
}

/// Sessions that hold or await ACCESS EXCLUSIVE: no other mode conflicts with ACCESS SHARE, and a waiting
/// session blocks as a holder does.
async fn in_the_way(client: &Client, tables: &[String]) -> Result<String> {
    let names: Vec<String> = tables.iter().map(|table| escape_literal(table)).collect();
    let tables = format!("SELECT to_regclass(name) FROM unnest(ARRAY[{}]) AS name", names.join(", "));
    let held = holders::of(client, &tables, "l.mode = 'AccessExclusiveLock'").await?;
    let held: Vec<String> = held.into_values().collect();
    Ok(if held.is_empty() { "a session that has ended".to_owned() } else { held.join("; ") })
}
