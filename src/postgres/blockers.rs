//! Who holds the locks for which sessions wait. Queries are never read, because a query may hold people's data.

use tokio_postgres::Client;

use super::step::during;
use crate::error::Result;

/// Most blockers that are told of.
const MOST: i64 = 10;

/// A session or prepared transaction that holds a lock, as far as this role may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocker {
    /// `None` for a prepared transaction.
    pub pid: Option<i32>,
    pub role: Option<String>,
    pub application: Option<String>,
    pub client: Option<String>,
    /// Age of the transaction, in seconds.
    pub transaction_seconds: Option<f64>,
    /// Longest wait of a waiting session, in seconds.
    pub waited_seconds: Option<f64>,
}

/// The blockers of the sessions with the process ids `waiting`, the first to be waited for first. A wait of less than a
/// second does not count, and the sessions do not count among each other's blockers.
///
/// # Errors
/// The connection broke.
pub async fn of(client: &Client, waiting: &[i32]) -> Result<Vec<Blocker>> {
    // `waitstart` is unset for a moment after the wait has begun. A blocker with process id 0 is a prepared transaction.
    let sql = "SELECT nullif(b.pid, 0), a.usename::text, a.application_name, host(a.client_addr),
                EXTRACT(EPOCH FROM clock_timestamp() - min(a.xact_start))::float8, max(w.waited)
         FROM (SELECT l.pid, EXTRACT(EPOCH FROM clock_timestamp() - min(l.waitstart))::float8 AS waited
               FROM pg_locks AS l WHERE l.pid = ANY ($1) AND NOT l.granted GROUP BY l.pid) AS w
         CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b (pid)
         LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
         WHERE w.waited >= 1 AND b.pid <> ALL ($1)
         GROUP BY b.pid, a.usename, a.application_name, a.client_addr
         ORDER BY max(w.waited) DESC, b.pid LIMIT $2";
    let rows = during(client, "reading who blocks leadbridge").rows(sql, &[&waiting, &MOST]).await?;
    let blocker = |row: &tokio_postgres::Row| Blocker {
        pid: row.get(0),
        role: row.get(1),
        application: row.get(2),
        client: row.get(3),
        transaction_seconds: row.get(4),
        waited_seconds: row.get(5),
    };
    Ok(rows.iter().map(blocker).collect())
}
