//! Rows of Traffic that Landing does not take: `leadbridge.reverse_quarantine`.
//!
//! Of a row's values only the key is kept, because a retry reads the row again. A row is retried when the row
//! changes, when its missing lead is written, and at each start; a row that wants another row's unique value
//! is also retried with each load.

use tokio_postgres::Client;
use tokio_postgres::types::{PgLsn, ToSql};
use uuid::Uuid;

use super::RefusalCause;
use crate::batch::keys::Keys;
use crate::error::Result;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::postgres::step::{Step, during};
use crate::postgres::unique::{COLLISIONS, LARGEST_SET};

/// A row of Traffic that Landing refuses.
#[derive(Clone, Debug)]
pub struct RefusedRow {
    pub table: Table,
    /// The key on Traffic.
    pub id: Uuid,
    pub cause: RefusalCause,
    /// Whether Landing refuses to delete the row.
    pub is_delete: bool,
}

impl RefusedRow {
    /// A row that Landing does not write.
    pub fn write(table: Table, id: Uuid, cause: RefusalCause) -> Self {
        RefusedRow { table, id, cause, is_delete: false }
    }

    /// A row that Landing does not delete.
    pub fn delete(table: Table, id: Uuid, cause: RefusalCause) -> Self {
        RefusedRow { table, id, cause, is_delete: true }
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
        let sql = format!("SELECT count(*) FROM {}", self.table);
        let row = step(traffic, "counting").row(&sql, &[]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// The keys of all quarantined rows; then the keys of those that Landing may have refused to delete.
    pub async fn all(&self, traffic: &Client) -> Result<(Keys, Keys)> {
        let sql = format!("SELECT traffic_table, row_id, is_delete IS NOT FALSE FROM {}", self.table);
        let rows = step(traffic, "reading").rows(&sql, &[]).await?;
        Ok((keys(&rows), keys(rows.iter().filter(|row| row.get(2)))))
    }

    /// The keys of the [`LARGEST_SET`] latest rows that were refused because another row holds a value.
    /// The other row may have given up the value, or may be refused for the same reason now, and then both
    /// can be written as a set.
    pub async fn colliding(&self, traffic: &Client) -> Result<Keys> {
        let sql = format!(
            "SELECT traffic_table, row_id FROM {} WHERE sqlstate = ANY ($1) \
             ORDER BY last_seen DESC LIMIT {LARGEST_SET}",
            self.table
        );
        Ok(keys(&step(traffic, "reading").rows(&sql, &[&&COLLISIONS[..]]).await?))
    }

    /// The quarantined keys among `asked`.
    pub async fn among(&self, traffic: &Client, asked: &Keys) -> Result<Keys> {
        let (tables, ids) = columns(asked);
        let sql = format!(
            "SELECT traffic_table, row_id FROM {} \
             WHERE (traffic_table, row_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))",
            self.table
        );
        Ok(keys(&step(traffic, "reading").rows(&sql, &[&tables, &ids]).await?))
    }

    /// The ids of the quarantined rows of `table` that belong to one of these leads.
    pub async fn dependents(&self, traffic: &Client, table: Table, leads: &[Uuid]) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT q.row_id FROM {} AS q JOIN {} AS t ON t.id = q.row_id \
             WHERE q.traffic_table = $1 AND t.lead_id = ANY ($2)",
            self.table,
            self.names.traffic_table(table)
        );
        let rows = step(traffic, "reading").rows(&sql, &[&table.traffic_name(), &leads]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Quarantines the key of a refused row. `lsn` is the end of the row's load, if the load has an end.
    pub async fn put(
        &self,
        traffic: &Client,
        RefusedRow { table, id, cause, is_delete }: &RefusedRow,
        lsn: Option<Lsn>,
    ) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} AS q (traffic_table, row_id, lsn, sqlstate, message, is_delete) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (traffic_table, row_id) DO UPDATE SET \
             lsn = coalesce(EXCLUDED.lsn, q.lsn), sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, \
             is_delete = EXCLUDED.is_delete, last_seen = now(), attempts = q.attempts + 1",
            self.table
        );
        let lsn = lsn.map(PgLsn::from);
        let values: [&(dyn ToSql + Sync); 6] =
            [&table.traffic_name(), id, &lsn, &cause.sqlstate, &cause.message, is_delete];
        step(traffic, "writing to").run(&sql, &values).await?;
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
        step(traffic, "releasing from").run(&sql, &[&tables, &ids]).await?;
        Ok(())
    }
}

fn keys<'r>(rows: impl IntoIterator<Item = &'r tokio_postgres::Row>) -> Keys {
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

fn step<'c>(traffic: &'c Client, doing: &str) -> Step<'c> {
    during(traffic, format!("{doing} the quarantine of reverse replication"))
}
