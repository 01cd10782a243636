//! Rows of Traffic that Landing does not take: `leadbridge.reverse_quarantine`.
//!
//! Of a row's values only the key is kept, because a retry reads the row again. A row is retried when the row
//! changes, when its missing lead is written, and at each start; a row that wants another row's unique value
//! is also retried with each load.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use crate::batch::keys::Keys;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;

/// The SQLSTATEs of a unique index and of an exclusion constraint.
const COLLISIONS: [&str; 2] = ["23505", "23P01"];

/// Maximum number of earlier colliding rows to be retried with each load.
const MOST_COLLIDING: usize = 200;

/// Why a row is quarantined. Holds no values of the row.
#[derive(Clone, Debug)]
pub struct RefusalCause {
    sqlstate: String,
    message: String,
}

impl RefusalCause {
    pub fn of(error: &Error) -> Self {
        RefusalCause {
            sqlstate: error.sqlstate().map_or("XX000", |code| code.code()).to_owned(),
            message: error.message().to_owned(),
        }
    }

    /// Whether the row was refused because another row holds a value.
    pub fn is_collision(&self) -> bool {
        COLLISIONS.contains(&self.sqlstate.as_str())
    }

    pub fn lead_is_missing() -> Self {
        RefusalCause { sqlstate: "23503".to_owned(), message: "its lead is not on Landing".to_owned() }
    }
}

/// Statements on the table `reverse_quarantine` on Traffic.
#[derive(Clone, Debug)]
pub struct ReverseQuarantine {
    names: Names,
    table: String,
}

impl ReverseQuarantine {
    pub fn new(names: &Names) -> Self {
        ReverseQuarantine { names: names.clone(), table: names.own("reverse_quarantine") }
    }

    /// Number of quarantined rows.
    pub async fn count(&self, traffic: &Client) -> Result<u64> {
        let row = traffic.query_one(&format!("SELECT count(*) FROM {}", self.table), &[]).await;
        Ok(row.map_err(|error| failed("counting", &error))?.get::<_, i64>(0).unsigned_abs())
    }

    /// The keys of all quarantined rows.
    pub async fn all(&self, traffic: &Client) -> Result<Keys> {
        let sql = format!("SELECT traffic_table, row_id FROM {}", self.table);
        let rows = traffic.query(&sql, &[]).await.map_err(|error| failed("reading", &error))?;
        Ok(keys(&rows))
    }

    /// The keys of the `MOST_COLLIDING` latest rows that were refused because another row holds a value.
    /// The other row may have given up the value, or may be refused for the same reason now, and then both
    /// can be written as a set.
    pub async fn colliding(&self, traffic: &Client) -> Result<Keys> {
        let sql = format!(
            "SELECT traffic_table, row_id FROM {} WHERE sqlstate = ANY ($1) \
             ORDER BY last_seen DESC LIMIT {MOST_COLLIDING}",
            self.table
        );
        let rows =
            traffic.query(&sql, &[&&COLLISIONS[..]]).await.map_err(|error| failed("reading", &error))?;
        Ok(keys(&rows))
    }

    /// The quarantined keys among `asked`.
    pub async fn among(&self, traffic: &Client, asked: &Keys) -> Result<Keys> {
        let (tables, ids) = columns(asked);
        let sql = format!(
            "SELECT traffic_table, row_id FROM {} \
             WHERE (traffic_table, row_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))",
            self.table
        );
        let rows = traffic.query(&sql, &[&tables, &ids]).await.map_err(|error| failed("reading", &error))?;
        Ok(keys(&rows))
    }

    /// The ids of the quarantined rows of `table` that belong to one of these leads.
    pub async fn dependents(&self, traffic: &Client, table: Table, leads: &[Uuid]) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT q.row_id FROM {} AS q JOIN {} AS t ON t.id = q.row_id \
             WHERE q.traffic_table = $1 AND t.lead_id = ANY ($2)",
            self.table,
            self.names.traffic_table(table)
        );
        let rows = traffic.query(&sql, &[&table.traffic_name(), &leads]).await;
        Ok(rows.map_err(|error| failed("reading", &error))?.iter().map(|row| row.get(0)).collect())
    }

    pub async fn put(
        &self,
        traffic: &Client,
        table: Table,
        id: Uuid,
        lsn: Option<Lsn>,
        cause: &RefusalCause,
    ) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} AS q (traffic_table, row_id, lsn, sqlstate, message) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (traffic_table, row_id) DO UPDATE SET lsn = coalesce(EXCLUDED.lsn, q.lsn), \
             sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, last_seen = now(), attempts = q.attempts + 1",
            self.table
        );
        let lsn = lsn.map(PgLsn::from);
        let done =
            traffic.execute(&sql, &[&table.traffic_name(), &id, &lsn, &cause.sqlstate, &cause.message]).await;
        done.map_err(|error| failed("writing to", &error))?;
        tracing::warn!(
            table = table.traffic_name(), %id, sqlstate = cause.sqlstate,
            "Landing does not take a row that changed on Traffic: it waits in {}", self.table
        );
        Ok(())
    }

    /// Removes keys from the quarantine, because Landing has the rows as Traffic has them, or has deleted
    /// them.
    pub async fn release(&self, traffic: &Client, released: &Keys) -> Result<()> {
        let (tables, ids) = columns(released);
        let sql = format!(
            "DELETE FROM {} WHERE (traffic_table, row_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))",
            self.table
        );
        let done = traffic.execute(&sql, &[&tables, &ids]).await;
        done.map(|_| ()).map_err(|error| failed("releasing from", &error))
    }
}

fn keys(rows: &[tokio_postgres::Row]) -> Keys {
    let mut keys = Keys::new();
    for row in rows {
        if let Some(table) = Table::from_traffic_name(row.get(0)) {
            keys.entry(table).or_default().insert(row.get(1));
        }
    }
    keys
}

fn columns(keys: &Keys) -> (Vec<&'static str>, Vec<Uuid>) {
    keys.iter().flat_map(|(table, ids)| ids.iter().map(|id| (table.traffic_name(), *id))).unzip()
}

fn failed(doing: &str, error: &tokio_postgres::Error) -> Error {
    Error::database(format!("{doing} the quarantine of reverse replication"), error)
}
