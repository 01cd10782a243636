//! An operator's commands on quarantine: list, show, retry, discard.

use tokio_postgres::Client;
use uuid::Uuid;

use super::writer::Writer;
use crate::checkpoint::refuse_switched;
use crate::error::{Error, Result};
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::quarantine::rows::{Quarantine, WAITING};

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

/// Result of a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried {
    pub tried: usize,
    /// Number of tried rows still in quarantine.
    pub left: usize,
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

impl Writer {
    /// Applies quarantined rows again, in one transaction: all rows or the rows `ids`, then the rows waiting
    /// for the written leads. Safe beside a running daemon: the second of the two waits, and finds the row
    /// gone or newer.
    pub async fn retry(&mut self, ids: Option<&[i64]>) -> Result<Retried> {
        self.begin_retry().await?;
        // The check also keeps a cutover from switching before the transaction of the retry ends.
        let instead =
            "a retry would bring back Landing's older row: nothing was done; discard what still waits";
        refuse_switched(&self.session, &self.names, instead).await?;
        let now = self.landing_time().await?;
        let portions = match ids {
            Some(ids) => self.quarantine.portions(&self.session, "id = ANY ($1)", &[&ids]).await?,
            None => self.quarantine.portions(&self.session, "true", &[]).await?,
        };
        // A row without an image needs the whole row from Landing, which arrives with the row's next change.
        let without_image = self.quarantine.count_without_image(&self.session, ids).await?;
        let (mut tried, mut left) = (without_image, without_image);
        for portion in portions {
            tried += portion.len();
            // A row of this portion may have left quarantine together with a row of an earlier portion.
            let changes = self.quarantine.changes(&self.session, &portion, now).await?;
            left += self.reapply(&changes).await?;
        }
        self.commit().await?;
        Ok(Retried { tried, left })
    }

    /// The moment of the checkpoint, by Landing's clock. The lock on the checkpoint keeps a snapshot from
    /// beginning before the transaction ends, because a snapshot forgets the quarantined rows, and would find
    /// unknown rows at its end.
    async fn landing_time(&self) -> Result<Timestamp> {
        let sql = format!(
            "SELECT caught_up_at, state = 'snapshot' FROM {} WHERE slot = $1 FOR SHARE",
            self.names.own("checkpoint")
        );
        let row = self.session.query_opt(&sql, &[&self.names.slot]).await;
        let row = row.map_err(|error| Error::database("reading the checkpoint on Traffic", &error))?;
        let Some(row) = row else { return Ok(Timestamp::default()) };
        if row.get(1) {
            // The copy tells its own rows by their time, and would remove a row with another time at its end.
            return Err(Error::refused("a snapshot is being copied: it quarantines and frees rows itself")
                .remedy("try again when `leadbridge status` says `streaming`"));
        }
        Ok(row.get::<_, Option<Timestamp>>(0).unwrap_or_default())
    }
}
