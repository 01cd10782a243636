//! Background verification: round after round, every row of Traffic is compared with Landing's, a range of keys at a
//! time, beside the running stream.
//!
//! `schedule` decides what comes next and how long the comparison rests, without I/O. `record` keeps the rounds and the
//! ranges on Traffic, so that a restart goes on in the middle of a round; on Traffic, because the transaction ids in the
//! record then go back together with Traffic when Traffic is restored to an earlier state.

pub mod record;
mod schedule;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

use crate::compare::ranges::{Keys, Known, RangeFound, RangeHorizon};
use crate::model::change::Table;
use crate::model::difference_counts::DifferenceCounts;
pub use schedule::{ROWS, Task, Terms, next, rest};

/// A round: one comparison of every range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    pub number: u64,
    /// See [`basis`](crate::compare::ranges::basis).
    pub basis: String,
    /// Times by the clock of the daemon's machine.
    pub begun_at: Timestamp,
    /// `None` while the round is in hand.
    pub ended_at: Option<Timestamp>,
    /// The last round that has ended.
    pub last: Option<RoundResult>,
    /// Rows that this round has repaired.
    pub repaired: u64,
}

/// Result of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundResult {
    pub number: u64,
    pub begun_at: Timestamp,
    pub ended_at: Timestamp,
    /// Rows of Landing.
    pub rows: u64,
    /// Rows that differ at the end of the round.
    #[serde(flatten)]
    pub counts: DifferenceCounts,
    pub repaired: u64,
    /// Ranges of which not everything is known, because rows changed at each look, or the stream did not pass.
    pub open_ranges: u64,
    /// Why differing rows were not repaired; `None` where repairing is off, nothing had to be repaired, or every row was
    /// handed to the applier: rows that were held, overtaken, or beyond the first thousand of a range are left to the
    /// next round.
    pub not_repaired: Option<String>,
}

impl RoundResult {
    /// Every row was compared, and none differs.
    pub fn is_clean(&self) -> bool {
        self.counts.all() == 0 && self.open_ranges == 0
    }
}

/// A range of a table's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    pub table: Table,
    pub keys: Keys,
    /// The last round that has compared the range; 0 for none.
    pub round: u64,
    /// Rows on Landing; `None` before the first comparison.
    pub rows: Option<u64>,
    /// Rows that either side had written between the last two comparisons.
    pub written: u64,
    /// When every value of the range was read last.
    pub read_at: Option<Timestamp>,
    pub horizon: Option<RangeHorizon>,
    /// Keys of rows that differ, the first thousand of them.
    pub differing: Vec<Uuid>,
    pub counts: DifferenceCounts,
    /// Last comparison by this process, and the number of comparisons of the present round that stayed open. Not
    /// recorded.
    pub tried: Option<Instant>,
    pub tries: u32,
}

impl Range {
    pub fn new(table: Table, keys: Keys) -> Self {
        Range {
            table,
            keys,
            round: 0,
            rows: None,
            written: 0,
            read_at: None,
            horizon: None,
            differing: Vec::new(),
            counts: DifferenceCounts::default(),
            tried: None,
            tries: 0,
        }
    }

    /// What the next comparison may rely on. Every value is read again once the last whole reading is `full_every` ago,
    /// because damage beneath PostgreSQL leaves no trace in `xmin`.
    pub fn known(&self, full_every: Duration, now: Timestamp) -> Known<'_> {
        let is_fresh = self.read_at.is_some_and(|at| now.duration_since(at).unsigned_abs() < full_every);
        let knows_all = self.counts.all() == self.differing.len() as u64;
        let since = self.horizon.as_ref().filter(|_| is_fresh && knows_all);
        Known { since, differing: if since.is_some() { &self.differing } else { &[] } }
    }

    /// Takes in a comparison by round `number`. Returns whether there is anything to record.
    pub fn take_in(&mut self, found: RangeFound, number: u64, now: Timestamp) -> bool {
        self.tried = Some(Instant::now());
        if found.is_open {
            self.tries += 1;
            if self.tries < OPEN_TRIES {
                return false;
            }
            // Nothing new is known. The next round reads the range whole.
            (self.round, self.horizon) = (number, None);
            return true;
        }
        (self.round, self.tries) = (number, 0);
        self.rows = Some(found.rows);
        self.written = found.written;
        if found.whole {
            self.read_at = Some(now);
        }
        (self.horizon, self.differing, self.counts) = (Some(found.horizon), found.differing, found.counts);
        true
    }

    /// Whether the last comparison has told something of every row.
    pub fn is_known(&self) -> bool {
        self.horizon.is_some()
    }

    /// This range as the given ranges, which hold the same keys.
    pub fn divided(&self, into: &[Keys]) -> Vec<Range> {
        if let [_] = into {
            return vec![Range {
                rows: self.rows.map(|rows| rows.min(ROWS.into())).or(Some(0)),
                ..self.clone()
            }];
        }
        let part = |keys: &Keys| {
            let differing: Vec<Uuid> =
                self.differing.iter().filter(|id| keys.contains(id)).copied().collect();
            Range {
                keys: *keys,
                rows: Some(ROWS.into()),
                // The kinds of the differences in each part are known again after its next comparison.
                counts: DifferenceCounts { different: differing.len() as u64, ..DifferenceCounts::default() },
                horizon: self.horizon.clone().filter(|_| self.counts.all() == 0),
                differing,
                ..self.clone()
            }
        };
        into.iter().map(part).collect()
    }
}

/// Comparisons in a round after which a range that stays open counts as compared.
const OPEN_TRIES: u32 = 3;

/// All that is recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub round: Option<Round>,
    pub ranges: Vec<Range>,
}

impl Record {
    /// The round in hand.
    pub fn in_hand(&self) -> Option<&Round> {
        self.round.as_ref().filter(|round| round.ended_at.is_none())
    }

    /// Whether the ranges of the tables hold every possible key once.
    pub fn is_complete(&self, tables: &[Table]) -> bool {
        tables.iter().all(|table| {
            let mut keys: Vec<Keys> = self.of(*table).map(|range| range.keys).collect();
            keys.sort_unstable();
            are_complete(&keys)
        })
    }

    /// Rows that differ, as far as is known.
    pub fn counts(&self) -> DifferenceCounts {
        sum(&mut self.ranges.iter())
    }

    /// Rows that differ in one table.
    pub fn counts_of(&self, table: Table) -> DifferenceCounts {
        sum(&mut self.of(table))
    }

    fn of(&self, table: Table) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(move |range| range.table == table)
    }

    /// Keys of differing rows of one table.
    pub fn differing(&self, table: Table) -> impl Iterator<Item = Uuid> {
        self.of(table).flat_map(|range| range.differing.iter().copied())
    }

    /// Rows on Landing as of the last comparisons, and whether every range was compared at least once.
    pub fn rows(&self) -> (u64, bool) {
        let rows = self.ranges.iter().filter_map(|range| range.rows).sum();
        (rows, self.ranges.iter().all(|range| range.round > 0))
    }

    /// Ranges that the present or last round has compared.
    pub fn compared(&self) -> usize {
        let Some(round) = &self.round else { return 0 };
        self.ranges.iter().filter(|range| range.round == round.number).count()
    }

    /// The result of the round in hand, all of whose ranges are compared.
    pub fn result(&self, round: &Round, now: Timestamp, not_repaired: Option<String>) -> RoundResult {
        RoundResult {
            number: round.number,
            begun_at: round.begun_at,
            ended_at: now,
            rows: self.rows().0,
            counts: self.counts(),
            repaired: round.repaired,
            open_ranges: self.ranges.iter().filter(|range| !range.is_known()).count() as u64,
            not_repaired,
        }
    }
}

fn sum(ranges: &mut dyn Iterator<Item = &Range>) -> DifferenceCounts {
    let mut counts = DifferenceCounts::default();
    ranges.for_each(|range| counts.add(&range.counts));
    counts
}

/// Whether the ranges hold every possible key once. `ranges` are one table's, in the order of their keys.
pub(crate) fn are_complete(ranges: &[Keys]) -> bool {
    let ends = ranges.first().is_some_and(|range| range.first == Uuid::nil())
        && ranges.last().is_some_and(|range| range.last == Uuid::max());
    let follows = |pair: &[Keys]| match pair {
        [before, after] => before.last.as_u128().checked_add(1) == Some(after.first.as_u128()),
        _ => true,
    };
    ends && ranges.iter().all(|range| range.first <= range.last) && ranges.windows(2).all(follows)
}

#[cfg(test)]
mod tests;
