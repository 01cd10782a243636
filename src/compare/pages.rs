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
use crate::mapping::inverse::TrafficImage;
use crate::mapping::{TableMapping, Target};
use crate::model::budget;
use crate::model::change::{Datum, Row as LandingRow};
use crate::postgres::Database;
use crate::traffic::reading::{is_large, text_columns, texts_unless_large};

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

/// A row of a page.
pub(super) enum PageRow<R> {
    Whole(R),
    /// A large row: only its key was read.
    Large(Uuid),
}

impl<R> PageRow<R> {
    pub(super) fn whole(&self) -> Option<&R> {
        match self {
            PageRow::Whole(row) => Some(row),
            PageRow::Large(_) => None,
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
    /// Reads each row whole.
    pub(super) fn new(sides: &'c ComparedSides<'c, E>, keys: KeyRange) -> Self {
        Self::of(sides, keys, false)
    }

    /// Reads only the key of a large row.
    pub(super) fn without_large(sides: &'c ComparedSides<'c, E>, keys: KeyRange) -> Self {
        Self::of(sides, keys, sides.may_hold_large.landing)
    }

    fn of(sides: &'c ComparedSides<'c, E>, keys: KeyRange, without_large: bool) -> Self {
        let ComparedSides { databases, layout, expectation, .. } = sides;
        let select = Self::select(sides, without_large);
        let step = format!("reading {} on Landing", layout.name);
        LandingPages { pages: Pages::new(databases.landing, select, step, keys), layout, expectation }
    }

    /// The query, to which a condition on the row `t` is added. With `without_large` the last column tells
    /// whether the row is large.
    pub(super) fn select(sides: &ComparedSides<'_, E>, without_large: bool) -> String {
        let ComparedSides { databases, layout, .. } = sides;
        let (columns, is_large) = match without_large {
            true => (
                reading::columns_unless_large(layout),
                format!(", CASE WHEN {} THEN 't' END", reading::is_large(layout)),
            ),
            false => (reading::columns(layout), String::new()),
        };
        // The stored size of the metadata, not the length of the text, because a compressed value may stay in
        // its row.
        format!(
            "SELECT {columns}, pg_catalog.pg_column_size(t.metadata)::text{is_large} FROM {} AS t WHERE",
            databases.names.landing_table(layout.table())
        )
    }

    pub(super) async fn next(&mut self) -> Result<Option<PageRow<E::Landing>>> {
        let Some(row) = self.pages.next().await? else { return Ok(None) };
        let failed = |error| Error::database(&self.pages.step, &error);
        let mut values = texts(&row, 0).map_err(failed)?;
        let is_large = take_large_flag(&mut values, self.layout.mapping.columns().len() + 1);
        let (row, stored) =
            landing_row(self.layout, values).map_err(|error| error.context(&self.pages.step))?;
        self.pages.after = Some(row.id);
        Ok(Some(match is_large {
            true => PageRow::Large(row.id),
            false => PageRow::Whole(self.expectation.landing(row, stored)),
        }))
    }

    /// Reads the rows into memory.
    pub(super) async fn whole(mut self) -> Result<Vec<E::Landing>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            if let PageRow::Whole(row) = row {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

/// The values of a row from the given column on, each of them a text.
fn texts(row: &Row, from: usize) -> std::result::Result<Vec<Datum>, tokio_postgres::Error> {
    let text = |at| row.try_get::<_, Option<&str>>(at).map(|text| text.map_or(Datum::Null, Datum::text));
    (from..row.len()).map(text).collect()
}

/// Whether the row is large: tells the value after the first `width`, which only a query has that passes over large rows.
fn take_large_flag(values: &mut Vec<Datum>, width: usize) -> bool {
    values.len() > width && values.pop().is_some_and(|flag| flag != Datum::Null)
}

/// The row, and the stored size of its metadata in bytes: the last of the values.
pub(super) fn landing_row(layout: &Layout, mut values: Vec<Datum>) -> Result<(LandingRow, usize)> {
    let stored = values.pop().and_then(|bytes| bytes.as_str()?.parse().ok()).unwrap_or(0);
    Ok((reading::row(layout, values.into())?, stored))
}

/// Traffic's rows.
pub(super) struct TrafficPages<'c> {
    pages: Pages<'c>,
    mapping: &'c TableMapping,
}

impl<'c> TrafficPages<'c> {
    /// Reads each row whole.
    pub(super) fn new<E: Expectation>(sides: &'c ComparedSides<'c, E>, keys: KeyRange) -> Self {
        Self::of(sides, keys, false)
    }

    /// Reads only the key of a large row.
    pub(super) fn without_large<E: Expectation>(sides: &'c ComparedSides<'c, E>, keys: KeyRange) -> Self {
        Self::of(sides, keys, sides.may_hold_large.traffic)
    }

    fn of<E: Expectation>(sides: &'c ComparedSides<'c, E>, keys: KeyRange, without_large: bool) -> Self {
        let mapping = &*sides.layout.mapping;
        let select = Self::select(sides, without_large);
        let step = format!("reading {} on Traffic", mapping.table.traffic_name());
        TrafficPages { pages: Pages::new(sides.databases.traffic, select, step, keys), mapping }
    }

    /// As [`LandingPages::select`]. The columns are those of [`held_row`].
    pub(super) fn select<E: Expectation>(sides: &ComparedSides<'_, E>, without_large: bool) -> String {
        let (databases, mapping) = (sides.databases, &*sides.layout.mapping);
        let must_be_on_landing = sides.expectation.must_be_on_landing();
        let which = if E::READS_ROWS_BORN_ON_TRAFFIC { "true" } else { &must_be_on_landing };
        let flag = |condition: &str| format!("CASE WHEN {condition} THEN 't' ELSE 'f' END");
        let (texts, is_large) = match without_large {
            true => (texts_unless_large(mapping), format!(", CASE WHEN {} THEN 't' END", is_large(mapping))),
            false => (text_columns(mapping), String::new()),
        };
        format!(
            "SELECT t.id::text{texts}, {}, {}{is_large} FROM {} AS t WHERE {which} AND",
            flag(&must_be_on_landing),
            flag(&sides.expectation.stays_on_traffic()),
            databases.names.traffic_table(mapping.table)
        )
    }

    pub(super) async fn next(&mut self) -> Result<Option<PageRow<HeldRow>>> {
        let Some(row) = self.pages.next().await? else { return Ok(None) };
        let failed = |error| Error::database(&self.pages.step, &error);
        let mut values = texts(&row, 0).map_err(failed)?;
        let is_large = take_large_flag(&mut values, self.mapping.targets().len() + 3);
        let held = held_row(self.mapping, values).map_err(|error| error.context(&self.pages.step))?;
        self.pages.after = Some(held.image.id);
        Ok(Some(match is_large {
            true => PageRow::Large(held.image.id),
            false => PageRow::Whole(held),
        }))
    }

    /// Reads the rows into memory.
    pub(super) async fn whole(mut self) -> Result<Vec<HeldRow>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            if let PageRow::Whole(row) = row {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

/// A row of Traffic from its texts: the id, one for each of [`TableMapping::targets`], and the two flags of a
/// [`HeldRow`].
pub(super) fn held_row(mapping: &TableMapping, values: Vec<Datum>) -> Result<HeldRow> {
    let broken = || Error::internal(format!("{} on Traffic: a row without id", mapping.table.traffic_name()));
    let mut values = values.into_iter();
    let id = values.next().and_then(|id| id.as_str()?.parse().ok()).ok_or_else(broken)?;
    let text = |value| if let Datum::Text(text) = value { Some(text) } else { None };
    let texts = values.by_ref().take(mapping.targets().len()).map(text).collect();
    let image = TrafficImage { table: mapping.table, id, values: texts };
    let mut flag = || values.next().is_some_and(|flag| flag.as_str() == Some("t"));
    let (must_be_on_landing, stays_on_traffic) = (flag(), flag());
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
