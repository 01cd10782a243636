//! Rows refused by Traffic, and how the rows leave quarantine (guarantees 5).
//!
//! A quarantined row is always the latest image of its key, so nothing has to be replayed: as soon as Traffic
//! takes the row, applying the image is exact. A later change of the key replaces the image or releases the
//! key from quarantine; a delete removes the image.
//!
//! A discarded row is not listed, not counted and not applied again. The image of a discarded row stays until
//! the key is written or deleted, because Traffic's own row is older: a later change may leave out values
//! found in the image alone.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;
use tokio_postgres::types::{PgLsn, ToSql};
use uuid::Uuid;

use super::RefusalCause;
use super::image::{self, Image};
use crate::batch::KeyChange;
use crate::error::Result;
use crate::mapping::Mapping;
use crate::model::budget::{self, Budget};
use crate::model::change::{Change, Operation, Origin, Row, SourcedChange, Table};
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::postgres::copied::copied;
use crate::postgres::prepared::LazyStatement;
use crate::postgres::step::during;

/// A write or a delete that Traffic refuses.
pub enum Refused<'r> {
    Write(&'r Row, Operation),
    Delete(Table, Uuid),
}

/// A refused change of one row.
pub struct Refusal<'r> {
    pub what: Refused<'r>,
    pub origin: Origin,
    pub cause: &'r RefusalCause,
}

/// Bytes of the images that are applied together.
const IMAGES: Budget = Budget::of(4 << 20);

/// Condition for the rows shown to an operator and applied by a retry: not discarded.
pub const WAITING: &str = "discarded_at IS NULL";

/// Condition for the rows ready to be applied again. A delete needs no image.
const HAS_ITS_IMAGE: &str = "(row_data IS NOT NULL OR operation = 'delete')";

/// The statements on the quarantine table.
#[derive(Debug)]
pub struct Quarantine {
    table: String,
    mapping: Mapping,
    concerned: LazyStatement,
}

impl Quarantine {
    /// `mapping` gives the columns of the images.
    pub fn new(names: &Names, mapping: &Mapping) -> Self {
        let (table, mapping) = (names.own("quarantine"), mapping.clone());
        let concerned = format!(
            "SELECT EXISTS (SELECT FROM {table} \
             WHERE (source_table, row_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))) \
             OR EXISTS (SELECT FROM {table} WHERE lead_id = ANY ($2)) \
             OR EXISTS (SELECT FROM {table} WHERE held_under IS NOT NULL)"
        );
        Quarantine { table, mapping, concerned: LazyStatement::new(concerned) }
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether quarantine has any row, discarded rows included.
    pub async fn has_rows(&self, client: &Client) -> Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", self.table);
        let row = during(client, "reading quarantine").row(&sql, &[]).await?;
        Ok(row.get(0))
    }

    /// Prepares [`Quarantine::is_concerned`], because a pipelined batch sends only prepared statements.
    pub async fn prepare(&self, client: &Client) -> Result<()> {
        self.concerned.on(client, "preparing to look into quarantine").await.map(|_| ())
    }

    /// Whether quarantine has one of the keys, or a row of a lead among the keys, or any row held by Traffic
    /// under another key. The other key may be one of the keys, or the key of one of their leads.
    pub async fn is_concerned(&self, client: &Client, keys: &[(Table, Uuid)]) -> Result<bool> {
        let (tables, ids): (Vec<&str>, Vec<Uuid>) =
            keys.iter().map(|(table, id)| (table.label(), *id)).unzip();
        let step = "looking into quarantine";
        let row = during(client, step).row(self.concerned.on(client, step).await?, &[&tables, &ids]).await?;
        Ok(row.get(0))
    }

    /// Subquery for the number of waiting rows.
    pub fn count_waiting(names: &Names) -> String {
        format!("(SELECT count(*) FROM {} WHERE {WAITING})", names.own("quarantine"))
    }

    /// The number of waiting rows, and the number of values with a conversion note.
    pub async fn count_beside_notes(client: &Client, names: &Names) -> Result<(u64, u64)> {
        let sql = format!(
            "SELECT {}, (SELECT count(*) FROM {})",
            Self::count_waiting(names),
            names.own("conversion_notes")
        );
        let row = during(client, "counting quarantine").row(&sql, &[]).await?;
        Ok((row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs()))
    }

    /// The number of waiting rows among `ids`.
    pub async fn count_among(traffic: Database<'_>, table: Table, ids: &[Uuid]) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "SELECT count(*) FROM {} WHERE source_table = $1 AND row_id = ANY ($2) AND {WAITING}",
            traffic.names.own("quarantine")
        );
        let step = traffic.during("looking into quarantine");
        let row = step.row(&sql, &[&table.label(), &ids]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// The waiting rows among `ids`.
    pub async fn among(traffic: Database<'_>, table: Table, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let sql = format!(
            "SELECT row_id FROM {} WHERE source_table = $1 AND row_id = ANY ($2) AND {WAITING}",
            traffic.names.own("quarantine")
        );
        let step = traffic.during("looking into quarantine");
        let rows = step.rows(&sql, &[&table.label(), &ids]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    pub async fn put(&self, client: &Client, refusal: &Refusal<'_>) -> Result<()> {
        let Refusal { origin, cause, .. } = refusal;
        let (table, id, operation, lead_id, data) = match refusal.what {
            Refused::Write(row, operation) => {
                let image = image::of(row, self.mapping.of(row.table));
                (row.table, row.id, operation, row.lead_id(), image)
            }
            Refused::Delete(table, id) => (table, id, Operation::Delete, None, None),
        };
        let too_large = data.is_none() && operation != Operation::Delete;
        let message = match too_large {
            true => format!(
                "{}; the row is too large to be kept here, and waits for its next change",
                cause.message
            ),
            false => cause.message.clone(),
        };
        let sql = format!(
            "INSERT INTO {} AS q (source_table, row_id, lead_id, operation, lsn, sqlstate, message, row_data) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.jsonb_object($8::text[], $9::text[])) \
             ON CONFLICT (source_table, row_id) DO UPDATE SET lead_id = EXCLUDED.lead_id, operation = EXCLUDED.operation, lsn = EXCLUDED.lsn, \
             sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, row_data = EXCLUDED.row_data, \
             first_seen = CASE WHEN q.discarded_at IS NULL THEN q.first_seen ELSE now() END, last_seen = now(), \
             attempts = CASE WHEN q.discarded_at IS NULL THEN q.attempts ELSE 0 END + 1, discarded_at = NULL",
            self.table
        );
        let lsn: PgLsn = origin.commit_lsn.into();
        let (name, operation) = (table.label(), operation.as_str());
        // Without an image both arrays are null, and so is the object.
        let (columns, texts) = data.map(|Image { columns, texts }| (columns, texts)).unzip();
        let values: [&(dyn ToSql + Sync); 9] =
            [&name, &id, &lead_id, &operation, &lsn, &cause.sqlstate, &message, &columns, &texts];
        during(client, "writing to quarantine").run(&sql, &values).await?;
        tracing::warn!(
            table = name, id = %id, operation, lsn = %origin.commit_lsn,
            sqlstate = cause.sqlstate, too_large, "row quarantined; see `leadbridge quarantine list`"
        );
        Ok(())
    }

    /// The quarantined images of the keys, discarded rows included; `None` for a row too large to have an
    /// image.
    pub async fn images(
        &self,
        client: &Client,
        table: Table,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Option<Row>>> {
        if let [id] = ids {
            let image = self.image(client, table, *id).await?;
            return Ok(image.map(|image| (*id, image)).into_iter().collect());
        }
        let sql = format!(
            "SELECT row_id, row_data::text FROM {} WHERE source_table = $1 AND row_id = ANY ($2) \
             AND operation <> 'delete'",
            self.table
        );
        let rows = during(client, "reading quarantine").rows(&sql, &[&table.label(), &ids]).await?;
        rows.iter()
            .map(|row| {
                let id: Uuid = row.get(0);
                let json: Option<&str> = row.get(1);
                Ok((id, json.map(|json| image::row(self.mapping.of(table), id, json)).transpose()?))
            })
            .collect()
    }

    /// The quarantined image of one key, which may be as large as a row can be. Unlike the text of the JSON, the
    /// texts in the image are the row's own, so the image is in memory once.
    async fn image(&self, client: &Client, table: Table, id: Uuid) -> Result<Option<Option<Row>>> {
        let (mapping, step) = (self.mapping.of(table), "reading a row in quarantine");
        let condition = format!(
            "FROM {} AS q WHERE source_table = '{}' AND row_id = '{id}' AND operation <> 'delete'",
            self.table,
            table.label()
        );
        // A value that is neither a text nor null is not leadbridge's.
        let foreign = "jsonb_typeof(row_data) <> 'object' OR EXISTS (SELECT FROM jsonb_each( \
             CASE jsonb_typeof(row_data) WHEN 'object' THEN row_data END) AS m \
             WHERE jsonb_typeof(m.value) NOT IN ('string', 'null'))";
        let sql = format!("SELECT row_data IS NULL, {foreign} {condition}");
        let Some(found) = during(client, step).row_if_any(&sql, &[]).await? else { return Ok(None) };
        if found.get(0) {
            return Ok(Some(None));
        }
        if found.get(1) {
            return Err(image::foreign(mapping, id));
        }
        let query = format!(
            "SELECT m.key, m.value FROM (SELECT row_data {condition}) AS q, jsonb_each_text(q.row_data) AS m"
        );
        let members = copied(client, &query, 2, step).await?;
        if members.is_empty() {
            // The row has left quarantine since.
            return Ok(None);
        }
        Ok(Some(Some(image::row_of(mapping, id, members))))
    }

    /// Approximate bytes of the images of the keys.
    pub async fn weight(&self, client: &Client, table: Table, ids: &[Uuid]) -> Result<u64> {
        let sql = format!(
            "SELECT coalesce(sum({}), 0)::bigint FROM {} WHERE source_table = $1 AND row_id = ANY ($2)",
            budget::weight(["row_data"]),
            self.table
        );
        let step = during(client, "weighing rows in quarantine");
        let row = step.row(&sql, &[&table.label(), &ids]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// The quarantined rows of the leads `leads`, where the lead is on Traffic in the table `on_traffic`, in
    /// portions for [`Quarantine::changes`].
    pub async fn dependents(
        &self,
        client: &Client,
        leads: &[Uuid],
        on_traffic: &str,
    ) -> Result<Vec<Vec<i64>>> {
        let filter = format!(
            "lead_id = ANY ($1) AND lead_id IN (SELECT l.id FROM {on_traffic} l WHERE l.id = ANY ($1)) \
             AND row_data IS NOT NULL"
        );
        self.portions(client, &filter, &[&leads]).await
    }

    /// The quarantined rows matching `filter`, in the order of their arrival, locked until the transaction
    /// ends. The images of a portion may be held in memory together.
    pub async fn portions(
        &self,
        client: &Client,
        filter: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Vec<i64>>> {
        let sql = format!(
            "SELECT id, {} FROM {} WHERE {filter} AND {WAITING} AND {HAS_ITS_IMAGE} ORDER BY id FOR UPDATE",
            budget::weight(["row_data"]),
            self.table
        );
        let rows = during(client, "weighing rows in quarantine").rows(&sql, parameters).await?;
        let weighed = rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()));
        Ok(IMAGES.portions(weighed, usize::MAX))
    }

    /// The rows still quarantined, as changes to apply now. `now` becomes their commit time on Traffic.
    pub async fn changes(&self, client: &Client, ids: &[i64], now: Timestamp) -> Result<Vec<SourcedChange>> {
        let sql = format!(
            "SELECT source_table, row_id, row_data::text, lsn FROM {} \
             WHERE id = ANY ($1) AND {WAITING} ORDER BY id",
            self.table
        );
        let rows = during(client, "reading quarantine").rows(&sql, &[&ids]).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            // A quarantined row of a table unknown to this version stays in quarantine.
            let Some(table) = Table::from_label(row.get(0)) else { continue };
            let id: Uuid = row.get(1);
            let change = match row.get::<_, Option<&str>>(2) {
                Some(json) => {
                    let row = image::row(self.mapping.of(table), id, json)?;
                    Change::Write { operation: Operation::Update, row, old_id: None }
                }
                None => Change::Delete { table, id },
            };
            let commit_lsn = row.get::<_, Option<PgLsn>>(3).map(Into::into).unwrap_or_default();
            changes
                .push(SourcedChange { origin: Origin { xid: None, commit_lsn, commit_time: now }, change });
        }
        Ok(changes)
    }

    /// The number of changes whose row is quarantined.
    pub async fn count(&self, client: &Client, changes: &[SourcedChange]) -> Result<usize> {
        let keys = changes.iter().filter_map(|change| change.change.key());
        let (tables, ids): (Vec<&str>, Vec<Uuid>) = keys.map(|(table, id)| (table.label(), id)).unzip();
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {WAITING} \
             AND (source_table, row_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))",
            self.table
        );
        let row = during(client, "reading quarantine").row(&sql, &[&tables, &ids]).await?;
        Ok(row.get::<_, i64>(0) as usize)
    }

    /// The number of waiting rows without an image, among all rows or among `ids`: too large to be applied
    /// again from quarantine.
    pub async fn count_without_image(&self, client: &Client, ids: Option<&[i64]>) -> Result<usize> {
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {WAITING} AND NOT {HAS_ITS_IMAGE} AND ($1::bigint[] IS NULL OR id = ANY ($1))",
            self.table
        );
        let row = during(client, "reading quarantine").row(&sql, &[&ids]).await?;
        Ok(row.get::<_, i64>(0) as usize)
    }

    /// Releases keys whose rows Traffic now has as Landing has them, written or deleted.
    pub async fn release(&self, client: &Client, table: Table, ids: &[Uuid]) -> Result<u64> {
        let sql = format!("DELETE FROM {} WHERE source_table = $1 AND row_id = ANY ($2)", self.table);
        during(client, "releasing from quarantine").run(&sql, &[&table.label(), &ids]).await
    }

    pub async fn release_table(&self, client: &Client, table: Table) -> Result<u64> {
        let sql = format!("DELETE FROM {} WHERE source_table = $1", self.table);
        during(client, "releasing from quarantine").run(&sql, &[&table.label()]).await
    }

    /// Changes the key of a quarantined row. An entry under the new key is outdated, because the key was free
    /// on Landing.
    pub async fn change_key(&self, client: &Client, change: KeyChange) -> Result<()> {
        let KeyChange { table, old, new } = change;
        self.release(client, table, &[new]).await?;
        let sql = format!("UPDATE {} SET row_id = $3 WHERE source_table = $1 AND row_id = $2", self.table);
        let step = during(client, "changing a key in quarantine");
        step.run(&sql, &[&table.label(), &old, &new]).await?;
        Ok(())
    }
}
