//! Reading a table in the order of its keys, a page at a time.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::pin::Pin;

use futures_util::StreamExt as _;
use tokio_postgres::{Client, Row, RowStream, Statement};
use uuid::Uuid;

use super::ComparedSides;
use super::merge::{Expectation, HeldRow};
use crate::capture::layout::Layout;
use crate::error::{Error, Result};
use crate::landing::reading;
use crate::mapping::{TableMapping, Target};
use crate::model::budget;
use crate::model::change::Row as LandingRow;
use crate::postgres::Database;
use crate::traffic::reading::{image, image_columns};

/// Rows in a page.
pub(super) const PAGE: usize = 500;

/// The keys of the rows to read.
#[derive(Clone, Debug)]
pub(super) enum KeyRange {
    Within(RangeInclusive<Uuid>),
    /// The listed keys, a [`PAGE`] at most.
    These(Vec<Uuid>),
}

impl KeyRange {
    pub(super) fn all() -> Self {
        KeyRange::Within(Uuid::nil()..=Uuid::max())
    }

    /// All keys in `count` ranges of equal width, because random UUIDs fill equal ranges evenly.
    pub(super) fn ranges(count: u32) -> Vec<Self> {
        let width = u128::MAX / u128::from(count.max(1));
        let starts: Vec<u128> = (0..u128::from(count.max(1))).map(|at| at * width).collect();
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
        starts.iter().zip(ends).map(|(&start, end)| KeyRange::Within(uuid(start)..=uuid(end))).collect()
    }
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A query's rows by ascending id. Each page is a statement of its own and starts after the last row taken,
/// so no snapshot is held for long and the servers can vacuum meanwhile. The rows of a page are read one by
/// one: however large the rows are, only the rows in the connection's buffer are in memory.
struct Pages<'c> {
    client: &'c Client,
    /// `SELECT … FROM … AS t WHERE …`, to which the bounds are added.
    select: String,
    step: String,
    keys: KeyRange,
    /// The statement for the pages after the first.
    prepared: Option<Statement>,
    after: Option<Uuid>,
    page: Option<Pin<Box<RowStream>>>,
    /// Rows taken from the current page.
    taken: usize,
    is_last: bool,
}

impl<'c> Pages<'c> {
    fn new(client: &'c Client, select: String, step: String, keys: KeyRange) -> Self {
        let (prepared, after, page) = (None, None, None);
        Pages { client, select, step, keys, prepared, after, page, taken: 0, is_last: false }
    }

    async fn next(&mut self) -> Result<Option<Row>> {
        let row = self.read().await;
        row.map_err(|error| Error::database(&self.step, &error))
    }

    async fn read(&mut self) -> std::result::Result<Option<Row>, tokio_postgres::Error> {
        loop {
            if let Some(page) = &mut self.page {
                if let Some(row) = page.next().await {
                    self.taken += 1;
                    return row.map(Some);
                }
                self.page = None;
                self.is_last = self.taken < PAGE || matches!(self.keys, KeyRange::These(_));
            }
            if self.is_last {
                return Ok(None);
            }
            self.taken = 0;
            self.page = Some(Box::pin(self.open().await?));
        }
    }

    async fn open(&mut self) -> std::result::Result<RowStream, tokio_postgres::Error> {
        // Qualified with `t`, to name the table's column, because the query's output column `id` may be text.
        let select = &self.select;
        match &self.keys {
            KeyRange::These(ids) => {
                let these = format!("{select} t.id = ANY ($1) ORDER BY t.id");
                self.client.query_raw(&these, [ids]).await
            }
            KeyRange::Within(range) => match (&self.after, &self.prepared) {
                (Some(after), Some(behind)) => self.client.query_raw(behind, [after, range.end()]).await,
                _ => {
                    let bounded =
                        |sign| format!("{select} t.id {sign} $1 AND t.id <= $2 ORDER BY t.id LIMIT {PAGE}");
                    self.prepared = Some(self.client.prepare(&bounded(">")).await?);
                    self.client.query_raw(&bounded(">="), [range.start(), range.end()]).await
                }
            },
        }
    }
}

/// Landing's rows.
pub(super) struct LandingPages<'c, E> {
    pages: Pages<'c>,
    layout: &'c Layout,
    expectation: &'c E,
}

impl<'c, E: Expectation> LandingPages<'c, E> {
    pub(super) fn new(sides: &'c ComparedSides<'c, E>, keys: KeyRange) -> Self {
        let ComparedSides { databases, layout, expectation, .. } = sides;
        // The stored size of the metadata, not the length of the text, because a compressed value may stay in
        // its row.
        let select = format!(
            "SELECT {}, pg_catalog.pg_column_size(t.metadata)::text FROM {} AS t WHERE",
            reading::columns(layout),
            databases.names.landing_table(layout.table())
        );
        let step = format!("reading {} on Landing", layout.name);
        LandingPages { pages: Pages::new(databases.landing, select, step, keys), layout, expectation }
    }

    pub(super) async fn next(&mut self) -> Result<Option<E::Landing>> {
        let Some(row) = self.pages.next().await? else { return Ok(None) };
        let (row, stored) =
            landing_row(self.layout, &row).map_err(|error| error.context(&self.pages.step))?;
        self.pages.after = Some(row.id);
        Ok(Some(self.expectation.landing(row, stored)))
    }

    /// Reads the rows into memory.
    pub(super) async fn collect(mut self) -> Result<Vec<E::Landing>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }
}

/// The row, and the stored size of its metadata in bytes.
fn landing_row(layout: &Layout, row: &Row) -> Result<(LandingRow, usize)> {
    let texts: std::result::Result<Vec<Option<&str>>, _> = (0..row.len()).map(|at| row.try_get(at)).collect();
    let mut texts = texts.map_err(|error| Error::database("reading a row", &error))?;
    let stored = texts.pop().flatten().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    Ok((reading::row_of(layout, texts.into_iter())?, stored))
}

/// Traffic's rows.
pub(super) struct TrafficPages<'c> {
    pages: Pages<'c>,
    mapping: &'c TableMapping,
}

impl<'c> TrafficPages<'c> {
    pub(super) fn new<E: Expectation>(sides: &'c ComparedSides<'c, E>, keys: KeyRange) -> Self {
        let (databases, mapping) = (sides.databases, &*sides.layout.mapping);
        let table = mapping.table;
        let must_be_on_landing = sides.expectation.must_be_on_landing();
        let which = if E::READS_ROWS_BORN_ON_TRAFFIC { "true" } else { &must_be_on_landing };
        let select = format!(
            "SELECT {}, {must_be_on_landing}, {} FROM {} AS t WHERE {which} AND",
            image_columns(mapping),
            sides.expectation.stays_on_traffic(),
            databases.names.traffic_table(table)
        );
        let step = format!("reading {} on Traffic", table.traffic_name());
        TrafficPages { pages: Pages::new(databases.traffic, select, step, keys), mapping }
    }

    pub(super) async fn next(&mut self) -> Result<Option<HeldRow>> {
        let Some(row) = self.pages.next().await? else { return Ok(None) };
        let held = held_row(self.mapping, &row);
        let held = held.map_err(|error| Error::database(&self.pages.step, &error))?;
        self.pages.after = Some(held.image.id);
        Ok(Some(held))
    }

    /// Reads the rows into memory.
    pub(super) async fn collect(mut self) -> Result<Vec<HeldRow>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }
}

fn held_row(mapping: &TableMapping, row: &Row) -> std::result::Result<HeldRow, tokio_postgres::Error> {
    let (image, next) = (image(mapping, row)?, mapping.targets().len() + 1);
    let (must_be_on_landing, stays_on_traffic) = (row.try_get(next)?, row.try_get(next + 1)?);
    Ok(HeldRow { image, must_be_on_landing, stays_on_traffic })
}

/// The approximate size in bytes of each of the given rows, as [`TrafficPages`] returns the row.
pub(super) async fn held_weights(
    traffic: Database<'_>,
    mapping: &TableMapping,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, u64>> {
    let table = mapping.table;
    let sql = format!(
        "SELECT t.id, {} FROM {} AS t WHERE t.id = ANY ($1)",
        budget::weight(mapping.of_variable_size().map(Target::ident)),
        traffic.table(table)
    );
    let step = traffic.during(format!("weighing rows of {} on Traffic", table.traffic_name()));
    let rows = step.rows(&sql, &[&ids]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_every_key_once() {
        for count in [1, 2, 3, 16, 1000] {
            let ranges = KeyRange::ranges(count);
            assert_eq!(ranges.len(), count as usize);
            let mut next = 0;
            for (at, keys) in ranges.iter().enumerate() {
                let KeyRange::Within(range) = keys else { panic!("not a range") };
                assert_eq!(range.start().as_u128(), next, "range {at} of {count}");
                next = range.end().as_u128().wrapping_add(1);
            }
            assert_eq!(next, 0, "the last of {count} ends with the last key");
        }
    }
}
