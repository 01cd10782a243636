//! What leadbridge's state tables on Traffic say of one lead and its journey entries and notifications: quarantine of
//! both directions, conversion notes, rows that an aborted cutover left on Traffic.

use serde::Serialize;
use uuid::Uuid;

use super::notes;
use crate::error::Result;
use crate::model::change::Table;
use crate::model::timestamp::{Timestamp, as_rfc3339};
use crate::postgres::Database;

/// A refused row of Landing, without its values.
#[derive(Debug, Serialize)]
pub struct QuarantinedRow {
    /// The id for `leadbridge quarantine show`.
    pub id: i64,
    /// The Landing table, under the name that leadbridge's records use.
    pub table: String,
    pub row_id: Uuid,
    pub operation: String,
    pub sqlstate: String,
    pub message: String,
    #[serde(serialize_with = "as_rfc3339")]
    pub since: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    pub last_attempt: Timestamp,
    pub attempts: i32,
    pub discarded: bool,
    /// The key under which Traffic still holds the row, where that is another key.
    pub held_under: Option<Uuid>,
}

/// A row of Traffic that Landing refused.
#[derive(Debug, Serialize)]
pub struct ReverseQuarantinedRow {
    /// Traffic's table.
    pub table: String,
    pub row_id: Uuid,
    pub sqlstate: String,
    pub message: String,
    #[serde(serialize_with = "as_rfc3339")]
    pub since: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    pub last_attempt: Timestamp,
    pub attempts: i32,
    pub is_delete: Option<bool>,
}

/// A value that the mapping changed.
#[derive(Debug, Serialize)]
pub struct NoteOfLead {
    pub column: String,
    pub reason: String,
    /// Whether the note is about a value of Traffic's own that the first copy replaced.
    pub of_traffic: bool,
    #[serde(serialize_with = "as_rfc3339")]
    pub noted_at: Timestamp,
    /// Only where values were asked for.
    pub original: Option<String>,
}

/// A row that applications wrote on Traffic while a cutover was under way that was aborted.
#[derive(Debug, Serialize)]
pub struct RowLeftOnTraffic {
    /// Traffic's table.
    pub table: String,
    pub row_id: Uuid,
    pub cutover_id: Uuid,
    #[serde(serialize_with = "as_rfc3339")]
    pub kept_at: Timestamp,
    /// The row was deleted on Traffic.
    pub was_deleted: bool,
}

/// Everything that the state tables say of a lead.
#[derive(Debug, Default, Serialize)]
pub struct LeadRecords {
    pub quarantine: Vec<QuarantinedRow>,
    pub reverse_quarantine: Vec<ReverseQuarantinedRow>,
    pub conversion_notes: Vec<NoteOfLead>,
    pub left_on_traffic: Vec<RowLeftOnTraffic>,
}

impl LeadRecords {
    /// `rows` are the keys of the lead and of its journey entries and notifications. The originals of conversion
    /// notes are people's data, and are read only `with_values`.
    ///
    /// # Errors
    /// Traffic cannot be read.
    pub async fn read(traffic: Database<'_>, lead: Uuid, rows: &[Uuid], with_values: bool) -> Result<Self> {
        let (quarantine, reverse_quarantine, conversion_notes, left_on_traffic) = tokio::try_join!(
            quarantined(traffic, lead, rows),
            reverse_quarantined(traffic, rows),
            noted(traffic, lead, with_values),
            left(traffic, rows),
        )?;
        Ok(LeadRecords { quarantine, reverse_quarantine, conversion_notes, left_on_traffic })
    }
}

async fn quarantined(traffic: Database<'_>, lead: Uuid, rows: &[Uuid]) -> Result<Vec<QuarantinedRow>> {
    let sql = format!(
        "SELECT id, source_table, row_id, operation, sqlstate, message, first_seen, last_seen, attempts, \
         discarded_at IS NOT NULL, held_under FROM {} \
         WHERE row_id = ANY ($2) OR lead_id = $1 OR held_under = $1 ORDER BY id",
        traffic.names.own("quarantine")
    );
    let found = traffic.during("reading quarantine").rows(&sql, &[&lead, &rows]).await?;
    let entry = |row: &tokio_postgres::Row| QuarantinedRow {
        id: row.get(0),
        table: row.get(1),
        row_id: row.get(2),
        operation: row.get(3),
        sqlstate: row.get(4),
        message: row.get(5),
        since: row.get(6),
        last_attempt: row.get(7),
        attempts: row.get(8),
        discarded: row.get(9),
        held_under: row.get(10),
    };
    Ok(found.iter().map(entry).collect())
}

async fn reverse_quarantined(traffic: Database<'_>, rows: &[Uuid]) -> Result<Vec<ReverseQuarantinedRow>> {
    let sql = format!(
        "SELECT traffic_table, row_id, sqlstate, message, first_seen, last_seen, attempts, is_delete FROM {} \
         WHERE row_id = ANY ($1) ORDER BY first_seen, row_id",
        traffic.names.own("reverse_quarantine")
    );
    let step = traffic.during("reading the quarantine of reverse replication");
    let found = step.rows(&sql, &[&rows]).await?;
    let entry = |row: &tokio_postgres::Row| ReverseQuarantinedRow {
        table: row.get(0),
        row_id: row.get(1),
        sqlstate: row.get(2),
        message: row.get(3),
        since: row.get(4),
        last_attempt: row.get(5),
        attempts: row.get(6),
        is_delete: row.get(7),
    };
    Ok(found.iter().map(entry).collect())
}

async fn noted(traffic: Database<'_>, lead: Uuid, with_values: bool) -> Result<Vec<NoteOfLead>> {
    let sql = format!(
        "SELECT column_name, reason, source_table = $3, noted_at, CASE WHEN $4 THEN original END FROM {} \
         WHERE source_table = ANY ($1) AND row_id = $2 ORDER BY column_name, source_table",
        traffic.names.own("conversion_notes")
    );
    let tables = notes::labels(Table::LandingLeads);
    let step = traffic.during("reading conversion notes");
    let found = step.rows(&sql, &[&tables, &lead, &notes::OWN_VALUES, &with_values]).await?;
    let note = |row: &tokio_postgres::Row| NoteOfLead {
        column: row.get(0),
        reason: row.get(1),
        of_traffic: row.get(2),
        noted_at: row.get(3),
        original: row.get(4),
    };
    Ok(found.iter().map(note).collect())
}

async fn left(traffic: Database<'_>, rows: &[Uuid]) -> Result<Vec<RowLeftOnTraffic>> {
    let sql = format!(
        "SELECT traffic_table, row_id, cutover_id, kept_at, image IS NULL FROM {} WHERE row_id = ANY ($1) \
         ORDER BY kept_at, row_id",
        traffic.names.own("left_on_traffic")
    );
    let found = traffic.during("reading the rows left on Traffic").rows(&sql, &[&rows]).await?;
    let row = |row: &tokio_postgres::Row| RowLeftOnTraffic {
        table: row.get(0),
        row_id: row.get(1),
        cutover_id: row.get(2),
        kept_at: row.get(3),
        was_deleted: row.get(4),
    };
    Ok(found.iter().map(row).collect())
}
