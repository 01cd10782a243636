//! One range of keys of a table at a time, for a comparison that goes on for as long as the daemon runs.
//!
//! A range is read whole, or, where an earlier comparison is known, only as far as anything can have changed: both
//! sides must hold the same keys, and every row is compared that either side has written since. A row that was equal
//! then, and that neither side has written since, is equal. `xmin` proves "not written since" (design, invariant 13);
//! where it proves nothing, the range is read whole.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::comparison::{Comparison, SUSPECTS};
use super::forward::ByMapping;
use super::pages::KeyRange;
use super::{ComparedSides, key_set};
use crate::error::Result;
use crate::mapping::Mapping;
use crate::model::change::Table;
use crate::model::difference_counts::DifferenceCounts;
use crate::model::sha256;
use crate::model::side::Side;
use crate::postgres::{Database, Databases, wal};
use crate::quarantine::Quarantine;
use crate::traffic::TargetCatalog;

/// Rows of a range that were written since its last comparison: with more, the range is read whole.
const WRITTEN: usize = 2_000;

/// Keys of differing rows that the result of a range keeps.
const KEPT: usize = 1_000;

/// A moment of both servers. Every row that a comparison after the moment finds was written before the moment's
/// transactions, or counts as written since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeHorizon {
    pub landing: ServerMoment,
    pub traffic: ServerMoment,
}

/// The oldest running transaction of one server, as the server's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerMoment {
    /// Tells the server's process from every other: its start. A server that was restarted after a crash, restored or
    /// replaced may give the ids of lost transactions again.
    pub server: String,
    pub xid: String,
}

impl ServerMoment {
    async fn now(database: Database<'_>) -> Result<Self> {
        let step = database.during(format!("looking at the server of {}", database.side));
        let sql = format!("SELECT pg_postmaster_start_time()::text, {}", wal::OLDEST_RUNNING);
        let row = step.row(&sql, &[]).await?;
        Ok(ServerMoment { server: row.get(0), xid: row.get(1) })
    }
}

impl RangeHorizon {
    /// The horizon of this moment, to be taken before a comparison begins.
    ///
    /// # Errors
    /// A database cannot be read.
    pub async fn now(databases: Databases<'_>) -> Result<Self> {
        let now = |side| ServerMoment::now(databases.on(side));
        let (landing, traffic) = tokio::try_join!(now(Side::Landing), now(Side::Traffic))?;
        Ok(RangeHorizon { landing, traffic })
    }

    /// Whether `xmin` tells since `earlier`: both servers run as they ran then.
    fn is_after(&self, earlier: &RangeHorizon) -> bool {
        self.landing.server == earlier.landing.server && self.traffic.server == earlier.traffic.server
    }

    fn xid(&self, side: Side) -> &str {
        match side {
            Side::Landing => &self.landing.xid,
            Side::Traffic => &self.traffic.xid,
        }
    }
}

/// All keys from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Keys {
    pub first: Uuid,
    pub last: Uuid,
}

impl Keys {
    pub const ALL: Keys = Keys { first: Uuid::nil(), last: Uuid::max() };

    /// All keys in `count` ranges of equal width, because random UUIDs fill equal ranges evenly.
    pub fn equal(count: u32) -> VecDeque<Keys> {
        let within = |range| match range {
            KeyRange::Within(range) => Some(Keys { first: *range.start(), last: *range.end() }),
            KeyRange::These(_) => None,
        };
        KeyRange::ranges(count).into_iter().filter_map(within).collect()
    }

    pub fn contains(&self, id: &Uuid) -> bool {
        (self.first..=self.last).contains(id)
    }
}

impl From<Keys> for KeyRange {
    fn from(keys: Keys) -> Self {
        KeyRange::Within(keys.first..=keys.last)
    }
}

/// What is known of a range from before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    /// The horizon of the last comparison; `None` to read the range whole.
    pub since: Option<&'k RangeHorizon>,
    /// Keys of all rows that differed then.
    pub differing: &'k [Uuid],
}

/// Result of comparing a range.
#[derive(Clone, Debug)]
pub struct RangeFound {
    /// Taken before the comparison; [`Known::since`] of the next one.
    pub horizon: RangeHorizon,
    /// Whether every value of the range was read.
    pub whole: bool,
    /// Rows of Landing in the range.
    pub rows: u64,
    /// Rows whose values were read.
    pub read: u64,
    /// Rows that either side has written since the last comparison; all rows without one.
    pub written: u64,
    pub counts: DifferenceCounts,
    /// Keys of the rows that differ, the first thousand of them.
    pub differing: Vec<Uuid>,
    /// Nothing is known of some rows: Landing has changed them at every look, or the stream did not pass them in time.
    /// The range counts as not compared.
    pub is_open: bool,
    /// Time that was spent waiting for rows on their way.
    pub waited: Duration,
}

/// A table of both sides, whose ranges are compared.
pub struct RangedTable<'c>(ComparedSides<'c, ByMapping>);

impl<'c> RangedTable<'c> {
    /// # Errors
    /// As [`compare`](super::compare).
    pub async fn open(databases: Databases<'c>, table: Table) -> Result<Self> {
        Ok(RangedTable(ComparedSides::forward(databases, table).await?))
    }

    /// Compares the rows of a range. Rows that are on their way are compared again, for `patience` at most.
    ///
    /// # Errors
    /// A database cannot be read.
    pub async fn compare(&self, keys: Keys, known: Known<'_>, patience: Duration) -> Result<RangeFound> {
        let horizon = RangeHorizon::now(self.0.databases).await?;
        let since = known.since.filter(|since| horizon.is_after(since));
        let unchanged = match since {
            Some(since) => self.written(keys, since).await?,
            None => None,
        };
        let (found, whole, rows, written) = match unchanged {
            Some(KeysNow { rows, written }) => {
                let again: BTreeSet<Uuid> = written
                    .iter()
                    .chain(known.differing.iter().filter(|id| keys.contains(id)))
                    .copied()
                    .collect();
                let again: Vec<Uuid> = again.into_iter().collect();
                (self.0.compare_rows(&again).await?, false, Some(rows), written.len() as u64)
            }
            None => {
                let found = self.0.compare(keys.into()).await?;
                let rows = found.landing_rows;
                (found, true, None, rows)
            }
        };
        let read = found.landing_rows.max(found.traffic_rows);
        let begun = Instant::now();
        let (found, is_open) = self.settle(found, patience).await?;
        let waited = begun.elapsed();
        let rows = rows.unwrap_or(found.landing_rows);
        let (counts, differing) = self.explain(&found).await?;
        Ok(RangeFound { horizon, whole, rows, read, written, counts, differing, is_open, waited })
    }

    /// Compares the differing rows again until each is equal or differs for good. Also returns whether something
    /// stays open.
    async fn settle(&self, found: Comparison, patience: Duration) -> Result<(Comparison, bool)> {
        // A row that a change of Traffic's own keeps unequal is no difference, and needs no wait. More rows than are
        // known by key cannot all be on their way, so the first counts stand.
        if found.differences() == 0 || !found.knows_its_suspects() {
            return Ok((found, false));
        }
        let settled = self.0.recheck_quietly(found.unlike(), patience).await?;
        let mut all = found.without_suspects();
        all.add(settled.comparison);
        let is_open = settled.moving > 0 || (!settled.passed && all.differences() > 0);
        Ok((all, is_open))
    }

    async fn explain(&self, found: &Comparison) -> Result<(DifferenceCounts, Vec<Uuid>)> {
        let (traffic, table) = (self.0.databases.on(Side::Traffic), self.0.layout.table());
        let quarantined = Quarantine::count_among(traffic, table, &found.suspects).await?;
        let counts = DifferenceCounts {
            missing: found.missing,
            extra: found.extra,
            different: found.different,
            refused: found.refused,
            quarantined,
        };
        Ok((counts, found.suspects.iter().take(KEPT).copied().collect()))
    }

    /// The rows that either side has written since `since`; `None` where these do not decide: the sides' keys differ,
    /// or too many rows were written.
    async fn written(&self, keys: Keys, since: &RangeHorizon) -> Result<Option<KeysNow>> {
        let of = |side| {
            let read = (self.0.layout.table(), keys);
            key_set::read(self.0.databases.on(side), read, since.xid(side), Some(WRITTEN + 1))
        };
        let (landing, traffic) = tokio::try_join!(of(Side::Landing), of(Side::Traffic))?;
        if (landing.rows, &landing.hash) != (traffic.rows, &traffic.hash) {
            return Ok(None);
        }
        let written: BTreeSet<Uuid> = landing.written.into_iter().chain(traffic.written).collect();
        let decides = landing.written_rows.max(traffic.written_rows) <= WRITTEN as u64;
        Ok(decides.then(|| KeysNow { rows: landing.rows, written: written.into_iter().collect() }))
    }

    /// Divides a range into ranges of about `rows` rows of Landing each.
    ///
    /// # Errors
    /// Landing cannot be read.
    pub async fn divide(&self, keys: Keys, rows: u32) -> Result<Vec<Keys>> {
        let landing = self.0.databases.on(Side::Landing);
        let sql = format!(
            "SELECT t.id FROM {} AS t WHERE t.id BETWEEN $1 AND $2 ORDER BY t.id OFFSET $3 LIMIT 1",
            landing.table(self.0.layout.table())
        );
        let step = landing.during(format!("dividing {} into ranges of keys", self.0.layout.name));
        let mut ranges = Vec::new();
        let mut first = keys.first;
        // Each statement reads the keys of one range, so no snapshot is held for long.
        while let Some(row) = step.row_if_any(&sql, &[&first, &keys.last, &i64::from(rows)]).await? {
            let next: Uuid = row.get(0);
            // The row at the offset is the first of the next range, and never the first of this one.
            ranges.push(Keys { first, last: Uuid::from_u128(next.as_u128() - 1) });
            first = next;
        }
        ranges.push(Keys { first, last: keys.last });
        Ok(ranges)
    }
}

/// The keys of a range on which both sides agree.
struct KeysNow {
    rows: u64,
    written: Vec<Uuid>,
}

/// Hash of everything that decides which values Traffic must hold for Landing's rows: this version's rules, the copy,
/// its columns, the settings, and the lengths of Traffic's columns. Where it has changed, no earlier comparison counts.
///
/// # Errors
/// A database cannot be read.
pub async fn basis(traffic: Database<'_>, mapping: &Mapping, tables: &[Table]) -> Result<String> {
    let sql = format!(
        "SELECT concat_ws(' ', snapshot_time::text, published, settings, landing_system_id) FROM {} WHERE slot = $1",
        traffic.names.own("checkpoint")
    );
    let step = traffic.during("reading the checkpoint on Traffic");
    let recorded = step.row_if_any(&sql, &[&traffic.names.slot]).await?;
    let recorded: Option<String> = recorded.and_then(|row| row.get(0));
    let target = TargetCatalog::read(traffic, tables, mapping).await?;
    let limits: Vec<_> = tables.iter().map(|table| target.limits(*table)).collect();
    let version = env!("CARGO_PKG_VERSION");
    Ok(sha256::of(format!("{version} {recorded:?} {limits:?}")))
}

const _: () = assert!(WRITTEN < SUSPECTS && KEPT < SUSPECTS);
