//! Compares Landing with the rows that reverse replication makes of Traffic's rows. A rollback needs the
//! result before Landing is opened again.
//!
//! Neither side may change meanwhile: both must be fenced and drained. The result holds ids, column names and
//! counts, never a value.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::landing::reading;
use crate::landing::write::target::LandingTarget;
use crate::mapping::inverse;
use crate::model::change::{Row, Table, lead, notification};
use crate::model::names::Names;
use crate::postgres::paging::PageStart;
use crate::postgres::step::during;
use crate::traffic::TargetCatalog;
use crate::traffic::reading::TrafficSnapshot;
use crate::traffic::since_switch::SinceSwitch;

/// Number of keys in a page.
const PAGE: i64 = 1000;
/// Maximum number of bytes of rows to read at a time, as Traffic stores the rows.
const BYTES: usize = 2 << 20;

/// A difference between Landing's row and Traffic's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "columns")]
pub enum Lack {
    /// Traffic has the row, and Landing must have the row: it came from Landing, or was written since the
    /// switch.
    Missing,
    /// Landing has the row, and Traffic lacks it.
    Extra,
    /// Landing's values in these columns are not the values that reverse replication would write.
    Different(Vec<&'static str>),
}

/// A row with a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReverseExample {
    pub id: Uuid,
    #[serde(flatten)]
    pub lack: Lack,
}

/// Result of comparing one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Name of the table on Traffic.
    pub table: &'static str,
    /// Rows on both sides, compared value by value.
    pub compared: u64,
    /// Rows that Landing lacks and need not have: born on Traffic, and not known to have changed since the
    /// switch.
    pub elsewhere: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// Rows that are equal but for an `updated_at` set by Landing's own trigger. Not counted as different.
    pub stamped: u64,
    /// Rows of the table in the quarantine of reverse replication. Each of these rows is also one of the
    /// differences. Always 0 in the result of [`compare_rows`].
    pub quarantined: u64,
    pub examples: Vec<ReverseExample>,
}

impl Compared {
    /// Number of missing, extra and different rows.
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.different
    }

    pub fn is_equal(&self) -> bool {
        self.differences() == 0
    }

    fn new(table: Table) -> Self {
        Compared {
            table: table.traffic_name(),
            compared: 0,
            elsewhere: 0,
            missing: 0,
            extra: 0,
            different: 0,
            stamped: 0,
            quarantined: 0,
            examples: Vec::new(),
        }
    }

    fn note(&mut self, id: Uuid, lack: Lack, examples: usize) {
        match lack {
            Lack::Missing => self.missing += 1,
            Lack::Extra => self.extra += 1,
            Lack::Different(_) => self.different += 1,
        }
        if self.examples.len() < examples {
            self.examples.push(ReverseExample { id, lack });
        }
    }
}

/// Compares the tables row by row, with up to `examples` examples for each table. The settings of both
/// sessions must be pinned, as a [`Session`](crate::postgres::Session)'s are. A session may have an open
/// transaction, and needs none.
///
/// # Errors
/// Refused when no cutover has switched to Traffic. Otherwise a database cannot be read.
pub async fn compare(
    landing: &Client,
    traffic: &Client,
    names: &Names,
    tables: &[Table],
    examples: usize,
) -> Result<Vec<Compared>> {
    let mut all = Vec::new();
    for &table in tables {
        let sides = ReverseSides::read(landing, traffic, names, table).await?;
        all.push(sides.compare(table, examples).await?);
    }
    Ok(all)
}

/// Compares only the rows with these keys, with an example for each difference.
///
/// # Errors
/// As [`compare`].
pub async fn compare_rows(
    landing: &Client,
    traffic: &Client,
    names: &Names,
    table: Table,
    ids: &[Uuid],
) -> Result<Compared> {
    let sides = ReverseSides::read(landing, traffic, names, table).await?;
    let mut found = Compared::new(table);
    for page in ids.chunks(PAGE as usize) {
        let theirs = sides.on_traffic(table, Which::These(page)).await?;
        let ours = keys(landing, &names.landing_table(table), Which::These(page), "Landing").await?;
        sides.look(table, &theirs, &ours, &mut found, ids.len()).await?;
    }
    Ok(found)
}

/// The keys to read, in order.
#[derive(Clone, Copy)]
enum Which<'k> {
    Page(&'k PageStart),
    These(&'k [Uuid]),
}

impl Which<'_> {
    /// A condition on `t` with the end of the statement, and the only parameter.
    fn sql(&self) -> (String, &(dyn ToSql + Sync)) {
        match self {
            Which::Page(start) => {
                (format!("{} ORDER BY t.id LIMIT {PAGE}", start.condition("t.id")), start.key())
            }
            Which::These(ids) => ("t.id = ANY ($1) ORDER BY t.id".to_owned(), ids),
        }
    }
}

struct ReverseSides<'c> {
    landing: &'c Client,
    traffic: &'c Client,
    names: &'c Names,
    target: LandingTarget,
    limits: TargetCatalog,
    since_switch: SinceSwitch,
}

impl<'c> ReverseSides<'c> {
    async fn read(
        landing: &'c Client,
        traffic: &'c Client,
        names: &'c Names,
        table: Table,
    ) -> Result<ReverseSides<'c>> {
        let since_switch = SinceSwitch::read(traffic, names, table).await?;
        let target = LandingTarget::read(landing, names, table).await?;
        let limits = TargetCatalog::read(traffic, names, &[table]).await?;
        Ok(ReverseSides { landing, traffic, names, target, limits, since_switch })
    }

    async fn compare(&self, table: Table, examples: usize) -> Result<Compared> {
        let mut found = Compared::new(table);
        let mut start = PageStart::FIRST;
        loop {
            let mut theirs = self.on_traffic(table, Which::Page(&start)).await?;
            let landing = self.names.landing_table(table);
            let mut ours = keys(self.landing, &landing, Which::Page(&start), "Landing").await?;
            // Up to the horizon both pages are complete.
            let full = |count: usize| count as i64 == PAGE;
            let ends = [
                theirs.keys().next_back().filter(|_| full(theirs.len())),
                ours.last().filter(|_| full(ours.len())),
            ];
            let horizon = ends.into_iter().flatten().min().copied().unwrap_or(Uuid::max());
            theirs.retain(|id, _| *id <= horizon);
            ours.retain(|id| *id <= horizon);
            self.look(table, &theirs, &ours, &mut found, examples).await?;
            if horizon == Uuid::max() {
                break;
            }
            start = PageStart::after(horizon);
        }
        found.quarantined = self.quarantined(table).await?;
        Ok(found)
    }

    /// Compares the rows with these keys: `theirs` are Traffic's keys, `ours` Landing's keys, sorted.
    async fn look(
        &self,
        table: Table,
        theirs: &BTreeMap<Uuid, bool>,
        ours: &[Uuid],
        found: &mut Compared,
        examples: usize,
    ) -> Result<()> {
        let mut both = Vec::new();
        for id in ours {
            match theirs.contains_key(id) {
                true => both.push(*id),
                false => found.note(*id, Lack::Extra, examples),
            }
        }
        for (id, must) in theirs {
            match (ours.binary_search(id).is_ok(), must) {
                (true, _) => {}
                (false, true) => found.note(*id, Lack::Missing, examples),
                (false, false) => found.elsewhere += 1,
            }
        }
        self.values(table, &both, found, examples).await
    }

    /// Traffic's keys, each with a flag: true for a row that Landing must have, because the row came from
    /// Landing or was written since the switch.
    async fn on_traffic(&self, table: Table, which: Which<'_>) -> Result<BTreeMap<Uuid, bool>> {
        let (which, parameter) = which.sql();
        let sql = format!(
            "SELECT t.id, t.landing_synced_at IS NOT NULL OR {} FROM {} AS t WHERE {which}",
            self.since_switch.condition(),
            self.names.traffic_table(table),
        );
        let rows = self.traffic.query(&sql, &[parameter]).await;
        let rows = rows.map_err(|error| reading_keys(table.traffic_name(), "Traffic", &error))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn values(&self, table: Table, ids: &[Uuid], found: &mut Compared, examples: usize) -> Result<()> {
        let snapshot = TrafficSnapshot::none(self.traffic, self.names, BYTES);
        for portion in snapshot.portions(table, ids).await? {
            let now = reading::by_id(self.landing, self.names, &self.target.layout, &portion).await?;
            for held in snapshot.rows(table, &portion).await? {
                let own = now.get(&held.id);
                let row = inverse::inverse(&held, own, &self.target.places, self.limits.limits(table));
                let Some(own) = own else { continue };
                found.compared += 1;
                let columns = differing(&row, own);
                match columns[..] {
                    [] => {}
                    ["updated_at"] if is_stamped(&row, own) => found.stamped += 1,
                    _ => found.note(held.id, Lack::Different(columns), examples),
                }
            }
        }
        Ok(())
    }

    async fn quarantined(&self, table: Table) -> Result<u64> {
        let sql =
            format!("SELECT count(*) FROM {} WHERE traffic_table = $1", self.names.own("reverse_quarantine"));
        let row = during(self.traffic, "counting the quarantine of reverse replication")
            .row(&sql, &[&table.traffic_name()])
            .await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }
}

fn differing(row: &Row, own: &Row) -> Vec<&'static str> {
    let columns = row.table.columns().iter().zip(row.values.iter().zip(&own.values));
    columns.filter(|(_, (ours, theirs))| ours != theirs).map(|(column, _)| column.name).collect()
}

/// Whether Landing's `updated_at` is the later time. Texts of times in UTC and ISO form sort as the times do.
fn is_stamped(row: &Row, own: &Row) -> bool {
    let at = match row.table {
        Table::LandingLeads => lead::UPDATED_AT,
        Table::ScheduledNotifications => notification::UPDATED_AT,
        Table::LeadJourney => return false,
    };
    let text = |row: &'_ Row| row.values.get(at).and_then(|value| value.as_str()).map(str::to_owned);
    text(own) > text(row)
}

/// A table's keys, sorted.
async fn keys(client: &Client, table: &str, which: Which<'_>, side: &str) -> Result<Vec<Uuid>> {
    let (which, parameter) = which.sql();
    let rows = client.query(&format!("SELECT t.id FROM {table} AS t WHERE {which}"), &[parameter]).await;
    Ok(rows.map_err(|error| reading_keys(table, side, &error))?.iter().map(|row| row.get(0)).collect())
}

fn reading_keys(table: &str, side: &str, error: &tokio_postgres::Error) -> Error {
    Error::database(format!("reading the keys of {table} on {side}"), error)
}
