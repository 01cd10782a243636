//! The keys of one side, and the rows among them that were written since a moment.

use uuid::Uuid;

use super::forward::ON_LANDING;
use super::ranges::Keys;
use crate::error::Result;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::postgres::written_since::written_since;

/// Landing's rows, or Traffic's rows that came from Landing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    pub rows: u64,
    /// Hash of all keys.
    pub hash: String,
    /// Number of rows that were written since.
    pub written_rows: u64,
    /// Their keys.
    pub written: Vec<Uuid>,
}

/// Reads the keys of a range. `since` is a transaction id of the side's server, as text; no more than `most` keys of written
/// rows are read.
///
/// # Errors
/// The side cannot be read.
pub async fn read(
    database: Database<'_>,
    (table, keys): (Table, Keys),
    since: &str,
    most: Option<usize>,
) -> Result<KeySet> {
    let which = match database.side {
        Side::Landing => "true",
        Side::Traffic => ON_LANDING,
    };
    let is_written = written_since("t.xmin", since);
    let first = most.map(|most| format!("[1:{most}]")).unwrap_or_default();
    let table = database.table(table);
    let sql = format!(
        "SELECT count(*), coalesce(sum(uuid_hash_extended(t.id, 0)), 0)::text, count(*) FILTER (WHERE t.is_written), \
         coalesce((array_agg(t.id) FILTER (WHERE t.is_written)){first}, '{{}}') \
         FROM (SELECT t.id, {is_written} AS is_written FROM {table} AS t \
         WHERE t.id BETWEEN $1 AND $2 AND {which}) AS t"
    );
    let step = database.during(format!("reading the keys of {table} on {}", database.side.name()));
    let row = step.row(&sql, &[&keys.first, &keys.last]).await?;
    Ok(KeySet {
        rows: row.get::<_, i64>(0).unsigned_abs(),
        hash: row.get(1),
        written_rows: row.get::<_, i64>(2).unsigned_abs(),
        written: row.get(3),
    })
}
