//! Reading a table in the order of its keys, a page at a time.

use std::vec::IntoIter;

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::comparison::{ExpectedRow, HeldRow};
use crate::change::{Row as LandingRow, Table};
use crate::error::{Error, Result};
use crate::landing::layout::Layout;
use crate::landing::reading;
use crate::mapping::{self, Limits, Target};
use crate::names::Names;

/// Rows in a page: with metadata of 20 kB in each some 10 MB.
const PAGE: usize = 500;

/// A query's rows by ascending id. Each page is a statement of its own and starts behind the last row that was
/// taken.
struct Pages<'c> {
    client: &'c Client,
    /// `SELECT … FROM … AS t WHERE …`, to which the bounds are added.
    select: String,
    step: String,
    after: Option<Uuid>,
    rows: IntoIter<Row>,
    is_last: bool,
}

impl<'c> Pages<'c> {
    fn new(client: &'c Client, select: String, step: String) -> Self {
        Pages { client, select, step, after: None, rows: Vec::new().into_iter(), is_last: false }
    }

    async fn next(&mut self) -> Result<Option<Row>> {
        if self.rows.len() == 0 && !self.is_last {
            // The table's column, not the query's: that one may be text.
            let behind = if self.after.is_some() { ">" } else { ">=" };
            let sql = format!("{} t.id {behind} $1 ORDER BY t.id LIMIT {PAGE}", self.select);
            let page = self.client.query(&sql, &[&self.after.unwrap_or(Uuid::nil())]).await;
            let page = page.map_err(|error| Error::database(&self.step, &error))?;
            self.is_last = page.len() < PAGE;
            self.rows = page.into_iter();
        }
        Ok(self.rows.next())
    }
}

/// What the mapping makes of Landing's rows.
pub(super) struct Expected<'c> {
    pages: Pages<'c>,
    layout: Layout,
    limits: &'c Limits,
}

impl<'c> Expected<'c> {
    pub(super) fn new(client: &'c Client, names: &Names, layout: Layout, limits: &'c Limits) -> Self {
        let select = format!("{} AS t WHERE", reading::select(names, &layout));
        let step = format!("reading {} on Landing", layout.table.landing_name());
        Expected { pages: Pages::new(client, select, step), layout, limits }
    }

    pub(super) async fn next(&mut self) -> Result<Option<ExpectedRow>> {
        let Some(row) = self.pages.next().await? else { return Ok(None) };
        let row = landing_row(&self.layout, &row).map_err(|error| error.context(&self.pages.step))?;
        self.pages.after = Some(row.id);
        Ok(Some(ExpectedRow { id: row.id, row: mapping::map(&row, self.limits).ok() }))
    }
}

fn landing_row(layout: &Layout, row: &Row) -> Result<LandingRow> {
    let texts: std::result::Result<Vec<Option<&str>>, _> = (0..row.len()).map(|at| row.try_get(at)).collect();
    let texts = texts.map_err(|error| Error::database("reading a row", &error))?;
    reading::row(layout, texts.into_iter())
}

/// What Traffic holds of the rows that came from Landing.
pub(super) struct Held<'c>(Pages<'c>);

impl<'c> Held<'c> {
    pub(super) fn new(client: &'c Client, names: &Names, table: Table) -> Self {
        let columns: String =
            mapping::targets(table).iter().map(|target| format!(", {}", text(target))).collect();
        let select = format!(
            "SELECT t.id{columns} FROM {} AS t WHERE t.landing_synced_at IS NOT NULL AND",
            names.traffic_table(table)
        );
        Held(Pages::new(client, select, format!("reading {} on Traffic", table.traffic_name())))
    }

    pub(super) async fn next(&mut self) -> Result<Option<HeldRow>> {
        let Some(row) = self.0.next().await? else { return Ok(None) };
        let failed = |error| Error::database(&self.0.step, &error);
        let id: Uuid = row.try_get(0).map_err(failed)?;
        let values: std::result::Result<_, _> = (1..row.len()).map(|at| row.try_get(at)).collect();
        let held = HeldRow { id, values: values.map_err(failed)? };
        self.0.after = Some(id);
        Ok(Some(held))
    }
}

/// The text that the mapping gives for such a column.
fn text(target: &Target) -> String {
    let name = target.name;
    match target.sql_type {
        // A type's output is `t`, a cast's `true`.
        "boolean" => format!("CASE t.{name} WHEN true THEN 't' WHEN false THEN 'f' END"),
        _ => format!("t.{name}::text"),
    }
}
