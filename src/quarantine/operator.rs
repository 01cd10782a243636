//! An operator's commands on quarantine: list, show, discard.

use tokio_postgres::Client;
use uuid::Uuid;

use super::rows::{Quarantine, WAITING};
use crate::error::Result;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;

/// A quarantined row without its values.
#[derive(Debug)]
pub struct QuarantineEntry {
    pub id: i64,
    /// The Landing table.
    pub table: String,
    pub row_id: Uuid,
    pub operation: String,
    pub sqlstate: String,
    pub message: String,
    pub first_seen: Timestamp,
    pub attempts: i32,
}

impl Quarantine {
    /// All quarantined rows, the oldest first.
    pub async fn list(&self, client: &Client) -> Result<Vec<QuarantineEntry>> {
        let sql = format!(
            "SELECT id, source_table, row_id, operation, sqlstate, message, first_seen, attempts FROM {} \
             WHERE {WAITING} ORDER BY id",
            self.table()
        );
        let rows = during(client, "reading quarantine").rows(&sql, &[]).await?;
        let entry = |row: &tokio_postgres::Row| QuarantineEntry {
            id: row.get(0),
            table: row.get(1),
            row_id: row.get(2),
            operation: row.get(3),
            sqlstate: row.get(4),
            message: row.get(5),
            first_seen: row.get(6),
            attempts: row.get(7),
        };
        Ok(rows.iter().map(entry).collect())
    }

    /// A quarantined row with its values, as a JSON document.
    pub async fn show(&self, client: &Client, id: i64) -> Result<Option<String>> {
        let sql = format!(
            "SELECT jsonb_pretty(to_jsonb(q) - 'discarded_at') FROM {} q WHERE id = $1 AND {WAITING}",
            self.table()
        );
        let row = during(client, "reading quarantine").row_if_any(&sql, &[&id]).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Discards rows, all or none: a discarded row is not retried. Returns the ids missing in quarantine; if
    /// there are any, nothing was discarded.
    pub async fn discard(&self, client: &Client, ids: &[i64]) -> Result<Vec<i64>> {
        // A single statement discards all ids or none.
        let sql = format!(
            "WITH found AS (SELECT id FROM {table} WHERE id = ANY ($1) AND {WAITING} FOR UPDATE), \
             missing AS (SELECT wanted.id FROM unnest($1::bigint[]) AS wanted (id) WHERE id NOT IN (SELECT id FROM found)), \
             given_up AS (UPDATE {table} SET discarded_at = now() \
               WHERE id IN (SELECT id FROM found) AND NOT EXISTS (SELECT FROM missing)) \
             SELECT id FROM missing",
            table = self.table()
        );
        let rows = during(client, "discarding from quarantine").rows(&sql, &[&ids]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
