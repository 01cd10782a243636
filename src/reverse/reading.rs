//! Traffic's rows as they are at one moment: read in one snapshot, in portions that memory has room for.

use bytestring::ByteString;
use tokio_postgres::Client;
use uuid::Uuid;

use super::mapping::TrafficImage;
use crate::budget::{self, Budget};
use crate::change::Table;
use crate::database::{Side, table_lock};
use crate::error::{Error, Result};
use crate::mapping;
use crate::names::Names;
use crate::traffic::as_text;

/// Rows of a portion at most.
const PORTION: usize = 2000;

/// A transaction on Traffic that sees one moment.
pub(super) struct TrafficSnapshot<'c> {
    traffic: &'c Client,
    names: &'c Names,
    /// Of what is read at once.
    budget: Budget,
}

impl<'c> TrafficSnapshot<'c> {
    /// Without a transaction of its own: each statement sees what the session sees then.
    pub(super) fn none(traffic: &'c Client, names: &'c Names, bytes: usize) -> Self {
        TrafficSnapshot { traffic, names, budget: Budget::of(bytes) }
    }

    /// Whatever was committed before is seen. What is absent in it is deleted on Landing, so the tables are locked
    /// first, and until its end.
    pub(super) async fn begin(
        traffic: &'c Client,
        names: &'c Names,
        tables: &[Table],
        bytes: usize,
    ) -> Result<Self> {
        let tables: Vec<String> = tables.iter().map(|table| names.traffic_table(*table)).collect();
        table_lock::open(traffic, Side::Traffic, table_lock::ONE_SNAPSHOT, &tables, "", None).await?;
        Ok(TrafficSnapshot::none(traffic, names, bytes))
    }

    pub(super) async fn end(self) -> Result<()> {
        self.execute("COMMIT").await
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let done = self.traffic.batch_execute(sql).await;
        done.map_err(|error| Error::database("reading a moment of Traffic", &error))
    }

    /// Those of the rows that are there, in portions.
    pub(super) async fn portions(&self, table: Table, ids: &[Uuid]) -> Result<Vec<Vec<Uuid>>> {
        let sql = format!(
            "SELECT t.id, {} FROM {} AS t WHERE t.id = ANY ($1) ORDER BY t.id",
            budget::weight(mapping::texts(table)),
            self.names.traffic_table(table)
        );
        let rows = self.traffic.query(&sql, &[&ids]).await.map_err(|error| reading(table, &error))?;
        let weighed = rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()));
        Ok(self.budget.portions(weighed, PORTION))
    }

    /// The rows with these ids, whole.
    pub(super) async fn rows(&self, table: Table, ids: &[Uuid]) -> Result<Vec<TrafficImage>> {
        let columns: String =
            mapping::targets(table).iter().map(|target| format!(", {}", as_text(target))).collect();
        let sql = format!(
            "SELECT t.id{columns} FROM {} AS t WHERE t.id = ANY ($1) ORDER BY t.id",
            self.names.traffic_table(table)
        );
        let rows = self.traffic.query(&sql, &[&ids]).await.map_err(|error| reading(table, &error))?;
        rows.iter().map(|row| held(table, row)).collect()
    }
}

/// A row whose first column is the id, with one text for each of [`mapping::targets`] behind it.
fn held(table: Table, row: &tokio_postgres::Row) -> Result<TrafficImage> {
    let failed = |error| reading(table, &error);
    let id = row.try_get(0).map_err(failed)?;
    let text = |at: usize| row.try_get::<_, Option<&str>>(at).map(|text| text.map(ByteString::from));
    let values: std::result::Result<_, _> = (1..=mapping::targets(table).len()).map(text).collect();
    Ok(TrafficImage { table, id, values: values.map_err(failed)? })
}

fn reading(table: Table, error: &tokio_postgres::Error) -> Error {
    Error::database(format!("reading {} on Traffic", table.traffic_name()), error)
}
