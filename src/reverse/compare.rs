//! Whether Landing holds what reverse replication makes of Traffic, for a rollback to know before it opens Landing again.
//!
//! Both sides are to be still: fenced, and drained. Ids, column names and counts come out of it, never a value.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::mapping;
use super::paging::PageStart;
use super::places::LandingTarget;
use super::reading::TrafficSnapshot;
use super::since_switch::SinceSwitch;
use crate::change::{Row, Table, lead, notification};
use crate::error::{Error, Result};
use crate::landing::reading;
use crate::names::Names;
use crate::traffic::TargetCatalog;

/// Keys of a page.
const PAGE: i64 = 1000;
/// Bytes of rows, as Traffic stores them, that are read at once.
const BYTES: usize = 2 << 20;

/// What Landing lacks of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "columns")]
pub enum Lack {
    /// Traffic has the row, and Landing must have it: it came from there, or was written since the switch.
    Missing,
    /// Landing has it, and Traffic has not.
    Extra,
    /// Landing has other values in these columns of its own than reverse replication would write.
    Different(Vec<&'static str>),
}

/// A row that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReverseExample {
    pub id: Uuid,
    #[serde(flatten)]
    pub lack: Lack,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Its name on Traffic.
    pub table: &'static str,
    /// Rows on both sides, whose every value was compared.
    pub compared: u64,
    /// Rows that were born on Traffic and are not known to have changed since the switch: they need not be on Landing.
    pub elsewhere: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// Equal but for an `updated_at` that Landing's own trigger has stamped: no difference.
    pub stamped: u64,
    /// Rows of the table that wait in the quarantine of reverse replication: each of them is one of the differences.
    pub quarantined: u64,
    pub examples: Vec<ReverseExample>,
}

impl Compared {
    /// Rows missing, left over or different.
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

/// Compares the tables row by row, with up to so many examples of each. Both sessions' settings must be pinned, as a
/// [`Session`](crate::database::Session)'s are; neither needs a transaction, both may be in one.
///
/// # Errors
/// Refused when Traffic was not switched to. Otherwise a database that cannot be read.
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

/// Compares only the rows with these keys, with an example of each that is not as it must be.
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

/// Which keys are read, in their order.
#[derive(Clone, Copy)]
enum Which<'k> {
    Page(&'k PageStart),
    These(&'k [Uuid]),
}

impl Which<'_> {
    /// A condition on `t` and what ends the statement, with its one parameter.
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
            // As far as both pages reach, nothing of either side is left out.
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

    /// Compares the rows with these keys, of either side; Landing's are sorted.
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

    /// Traffic's keys, each with whether Landing must have the row: it came from there, or was written since the switch.
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
                let row = mapping::inverse(&held, own, &self.target.places, self.limits.limits(table));
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
        let row = self.traffic.query_one(&sql, &[&table.traffic_name()]).await;
        let row =
            row.map_err(|error| Error::database("counting the quarantine of reverse replication", &error))?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }
}

fn differing(row: &Row, own: &Row) -> Vec<&'static str> {
    let columns = row.table.columns().iter().zip(row.values.iter().zip(&own.values));
    columns.filter(|(_, (ours, theirs))| ours != theirs).map(|(column, _)| column.name).collect()
}

/// Times in UTC and ISO form stand in the order of their text.
fn is_stamped(row: &Row, own: &Row) -> bool {
    let at = match row.table {
        Table::LandingLeads => lead::UPDATED_AT,
        Table::ScheduledNotifications => notification::UPDATED_AT,
        Table::LeadJourney => return false,
    };
    let text = |row: &'_ Row| row.values.get(at).and_then(|value| value.as_str()).map(str::to_owned);
    text(own) > text(row)
}

/// A table's keys, in their order.
async fn keys(client: &Client, table: &str, which: Which<'_>, side: &str) -> Result<Vec<Uuid>> {
    let (which, parameter) = which.sql();
    let rows = client.query(&format!("SELECT t.id FROM {table} AS t WHERE {which}"), &[parameter]).await;
    Ok(rows.map_err(|error| reading_keys(table, side, &error))?.iter().map(|row| row.get(0)).collect())
}

fn reading_keys(table: &str, side: &str, error: &tokio_postgres::Error) -> Error {
    Error::database(format!("reading the keys of {table} on {side}"), error)
}
