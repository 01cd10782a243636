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

use super::ComparedSides;
use super::comparison::{Comparison, SUSPECTS};
use super::forward::ByMapping;
use super::pages::KeyRange;
use crate::error::Result;
use crate::mapping::Mapping;
use crate::model::change::Table;
use crate::model::sha256;
use crate::model::side::Side;
use crate::postgres::written_since::written_since;
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
pub struct Horizon {
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
        let row = step.row("SELECT pg_postmaster_start_time()::text", &[]).await?;
        Ok(ServerMoment { server: row.get(0), xid: wal::oldest_running(database.client).await? })
    }
}

impl Horizon {
    /// The horizon of this moment, to be taken before a comparison begins.
    ///
    /// # Errors
    /// A database cannot be read.
    pub async fn now(databases: Databases<'_>) -> Result<Self> {
        Ok(Horizon {
            landing: ServerMoment::now(databases.on(Side::Landing)).await?,
            traffic: ServerMoment::now(databases.on(Side::Traffic)).await?,
        })
    }

    /// Whether `xmin` tells since `earlier`: both servers run as they ran then.
    fn is_after(&self, earlier: &Horizon) -> bool {
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

/// How many rows of a range differ, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceCounts {
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    pub refused: u64,
    /// Rows among the others that are in quarantine, which holds the reason.
    pub quarantined: u64,
}

impl DifferenceCounts {
    /// All rows that differ.
    pub fn all(&self) -> u64 {
        self.missing + self.extra + self.different + self.refused
    }

    /// Rows that differ and are not in quarantine.
    pub fn unexplained(&self) -> u64 {
        self.all().saturating_sub(self.quarantined)
    }

    pub fn add(&mut self, other: &DifferenceCounts) {
        self.missing += other.missing;
        self.extra += other.extra;
        self.different += other.different;
        self.refused += other.refused;
        self.quarantined += other.quarantined;
    }
}

/// What is known of a range from before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    /// The horizon of the last comparison; `None` to read the range whole.
    pub since: Option<&'k Horizon>,
    /// Keys of all rows that differed then.
    pub differing: &'k [Uuid],
}

/// Result of comparing a range.
#[derive(Clone, Debug)]
pub struct RangeFound {
    /// Taken before the comparison; [`Known::since`] of the next one.
    pub horizon: Horizon,
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
        let horizon = Horizon::now(self.0.databases).await?;
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
                let found = self.0.compare(KeyRange::Within(keys.first..=keys.last)).await?;
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
    async fn written(&self, keys: Keys, since: &Horizon) -> Result<Option<KeysNow>> {
        let of = |side| self.keys_of(side, keys, since.xid(side));
        let (landing, traffic) = tokio::try_join!(of(Side::Landing), of(Side::Traffic))?;
        if (landing.rows, &landing.hash) != (traffic.rows, &traffic.hash) {
            return Ok(None);
        }
        let written: BTreeSet<Uuid> = landing.written.into_iter().chain(traffic.written).collect();
        let decides = landing.written_rows.max(traffic.written_rows) <= WRITTEN as i64;
        let rows = landing.rows.unsigned_abs();
        Ok(decides.then(|| KeysNow { rows, written: written.into_iter().collect() }))
    }

    async fn keys_of(&self, side: Side, keys: Keys, since: &str) -> Result<KeySet> {
        let database = self.0.databases.on(side);
        let which = match side {
            Side::Landing => "true",
            Side::Traffic => "t.landing_synced_at IS NOT NULL",
        };
        let is_written = written_since("t.xmin", since);
        let sql = format!(
            "SELECT count(*), coalesce(sum(uuid_hash_extended(t.id, 0)), 0)::text, count(*) FILTER (WHERE t.is_written), \
             coalesce((array_agg(t.id) FILTER (WHERE t.is_written))[1:{}], '{{}}') \
             FROM (SELECT t.id, {is_written} AS is_written FROM {} AS t \
             WHERE t.id BETWEEN $1 AND $2 AND {which}) AS t",
            WRITTEN + 1,
            database.table(self.0.layout.table())
        );
        let step = database.during(format!("reading keys of {} on {}", self.0.layout.name, side.name()));
        let row = step.row(&sql, &[&keys.first, &keys.last]).await?;
        Ok(KeySet { rows: row.get(0), hash: row.get(1), written_rows: row.get(2), written: row.get(3) })
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

struct KeySet {
    rows: i64,
    hash: String,
    written_rows: i64,
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
