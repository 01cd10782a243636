//! Reads Traffic's rows in one snapshot, in portions that fit into memory.

use bytestring::ByteString;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::mapping::inverse::TrafficImage;
use crate::mapping::{TableMapping, Target};
use crate::model::budget::{self, Budget};
use crate::model::change::{Datum, Table};
use crate::model::side::Side;
use crate::postgres::copied::copied;
use crate::postgres::{Database, table_lock};
use crate::traffic::flowing;
use crate::traffic::statements::as_text;

/// Maximum number of rows in a portion.
const PORTION: usize = 2000;

/// Rows found by their ids.
#[derive(Default)]
pub struct FoundRows {
    /// Sorted ids of the rows that flow to Landing, in portions.
    pub portions: Vec<Vec<Uuid>>,
    /// Rows that stay on Traffic: see [`flowing::stays`].
    pub staying: Vec<Uuid>,
}

/// A transaction on Traffic with one snapshot.
pub struct TrafficSnapshot<'c> {
    traffic: Database<'c>,
    /// Budget in bytes of the rows to read at a time.
    budget: Budget,
}

impl<'c> TrafficSnapshot<'c> {
    /// Opens a transaction in which everything committed before is visible. The tables are locked before the
    /// snapshot and until the end, because a rewritten table is empty to an older snapshot, and absent rows
    /// are deleted on Landing.
    pub async fn begin(traffic: Database<'c>, tables: &[Table], bytes: usize) -> Result<Self> {
        let tables: Vec<String> = tables.iter().map(|table| traffic.table(*table)).collect();
        table_lock::open(traffic.client, Side::Traffic, table_lock::ONE_SNAPSHOT, &tables, "", None).await?;
        Ok(TrafficSnapshot { traffic, budget: Budget::of(bytes) })
    }

    pub async fn end(self) -> Result<()> {
        self.traffic.during("reading a moment of Traffic").batch("COMMIT").await
    }

    /// The ids of existing rows.
    pub async fn find(&self, mapping: &TableMapping, ids: &[Uuid]) -> Result<FoundRows> {
        let table = mapping.table;
        let sql = format!(
            "SELECT t.id, {}, {} FROM {} AS t WHERE t.id = ANY ($1) ORDER BY t.id",
            budget::weight(mapping.of_variable_size().map(Target::ident)),
            flowing::stays(self.traffic.names, table),
            self.traffic.table(table)
        );
        let rows = self.traffic.during(reading(table)).rows(&sql, &[&ids]).await?;
        let (staying, flowing): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.get(2));
        let weighed = flowing.into_iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()));
        Ok(FoundRows {
            portions: self.budget.portions(weighed, PORTION),
            staying: staying.into_iter().map(|row| row.get(0)).collect(),
        })
    }

    /// The sorted ids of existing rows that flow to Landing.
    pub async fn flowing(&self, mapping: &TableMapping, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        Ok(self.find(mapping, ids).await?.portions.concat())
    }

    /// The rows with these ids, with all mapped columns.
    pub async fn rows(&self, mapping: &TableMapping, ids: &[Uuid]) -> Result<Vec<TrafficImage>> {
        let table = mapping.table;
        let sql = format!(
            "SELECT {} FROM {} AS t WHERE t.id = ANY ($1) ORDER BY t.id",
            image_columns(mapping),
            self.traffic.table(table)
        );
        let rows = self.traffic.during(reading(table)).rows(&sql, &[&ids]).await?;
        let images: std::result::Result<_, _> = rows.iter().map(|row| image(mapping, row)).collect();
        images.map_err(|error| Error::database(reading(table), &error))
    }
}

/// One row, whatever its size; `None` where Traffic has no such row.
///
/// # Errors
/// Traffic cannot be read.
pub async fn by_id(traffic: Database<'_>, mapping: &TableMapping, id: Uuid) -> Result<Option<TrafficImage>> {
    let table = mapping.table;
    let texts = text_columns(mapping);
    let texts = texts.trim_start_matches(", ");
    let query = format!("SELECT {texts} FROM {} AS t WHERE t.id = '{id}'", traffic.table(table));
    let found = copied(traffic.client, &query, mapping.targets().len(), &reading(table)).await?;
    let text = |value: &Datum| if let Datum::Text(text) = value { Some(text.clone()) } else { None };
    Ok(found.first().map(|values| TrafficImage { table, id, values: values.iter().map(text).collect() }))
}

/// The columns of the row `t` that [`image`] decodes: the id, then one text for each of
/// [`TableMapping::targets`].
fn image_columns(mapping: &TableMapping) -> String {
    format!("t.id{}", text_columns(mapping))
}

/// One text of the row `t` for each of [`TableMapping::targets`], each after a comma.
pub fn text_columns(mapping: &TableMapping) -> String {
    mapping.targets().iter().map(|target| format!(", {}", as_text(target))).collect()
}

/// As [`text_columns`], where a value that makes its row a large row is null ([`is_large`]).
pub fn texts_unless_large(mapping: &TableMapping) -> String {
    let heavy: Vec<&Target> = mapping.of_variable_size().collect();
    let text = |target: &Target| match heavy.contains(&target) {
        true => budget::unless_large(&column(target), &as_text(target)),
        false => as_text(target),
    };
    mapping.targets().iter().map(|target| format!(", {}", text(target))).collect()
}

/// SQL condition on the row `t`: the row is a large row.
pub fn is_large(mapping: &TableMapping) -> String {
    budget::is_large(mapping.of_variable_size().map(column))
}

fn column(target: &Target) -> String {
    format!("t.{}", target.ident())
}

/// Decodes a row that begins with [`image_columns`].
fn image(
    mapping: &TableMapping,
    row: &tokio_postgres::Row,
) -> std::result::Result<TrafficImage, tokio_postgres::Error> {
    let text = |at: usize| row.try_get::<_, Option<&str>>(at).map(|text| text.map(ByteString::from));
    let values: std::result::Result<_, _> = (1..=mapping.targets().len()).map(text).collect();
    Ok(TrafficImage { table: mapping.table, id: row.try_get(0)?, values: values? })
}

fn reading(table: Table) -> String {
    format!("reading {} on Traffic", table.traffic_name())
}
