//! What background verification does next, and how long it rests; pure.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Range, Record};
use crate::model::change::Table;

/// Rows of Landing in a range, about: a comparison of a range takes a fraction of a second.
pub const ROWS: u32 = 5_000;

/// A range with more rows is divided before it is compared.
const MOST_ROWS: u64 = 2 * ROWS as u64;

/// Pause before a range that stayed open, or that holds a known difference, is compared again.
const AGAIN: Duration = Duration::from_secs(20);

/// Longest rest after one comparison, so that a single slow comparison does not stop verification for hours.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// The operator's settings.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// From the beginning of a round to the beginning of the next one.
    pub every: Duration,
    pub repairs: bool,
}

/// The next task. A range is named by its index in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    BeginRound,
    Divide(usize),
    Compare(usize),
    /// Every range is compared; differing rows are to be repaired.
    Repair,
    EndRound,
    /// Nothing for now.
    Wait,
}

/// `has_repaired`: whether the round in hand has tried to repair already.
pub fn next(record: &Record, terms: Terms, has_repaired: bool, (now, clock): (Timestamp, Instant)) -> Task {
    let Some(round) = &record.round else { return Task::BeginRound };
    let rests = |range: &Range| range.tried.is_some_and(|at| clock.duration_since(at) < AGAIN);
    if round.ended_at.is_some() {
        // A clock that was set back must not stop verification for long.
        if now.duration_since(round.begun_at).unsigned_abs() >= terms.every {
            return Task::BeginRound;
        }
        // A known difference is looked at again and again, so that its end is told soon.
        let again = record.ranges.iter().position(|range| range.counts.all() > 0 && !rests(range));
        return again.map_or(Task::Wait, Task::Compare);
    }
    let due = record.ranges.iter().enumerate().filter(|(_, range)| range.round < round.number);
    let mut due: Vec<(usize, &Range)> = due.collect();
    if due.is_empty() {
        return match terms.repairs && !has_repaired && record.counts().unexplained() > 0 {
            true => Task::Repair,
            false => Task::EndRound,
        };
    }
    // All tables are divided first, because their sizes decide the order.
    if let Some((at, _)) = due.iter().find(|(_, range)| range.rows.is_none()) {
        return Task::Divide(*at);
    }
    due.retain(|(_, range)| range.tries == 0 || !rests(range));
    let sizes = Table::ALL.map(|table| (table, rows_of(record, table)));
    let size_of = |range: &Range| {
        sizes.iter().find(|(table, _)| *table == range.table).map_or(u64::MAX, |(_, rows)| *rows)
    };
    match due.into_iter().min_by_key(|(_, range)| place(range, size_of(range))) {
        None => Task::Wait,
        Some((at, range)) if range.rows.is_some_and(|rows| rows > MOST_ROWS) => Task::Divide(at),
        Some((at, _)) => Task::Compare(at),
    }
}

/// The order in which ranges are compared, the smallest first. Damage is found soonest where damage was before, then in
/// small tables, because these take no time, then where most is written, then where the last look is longest ago.
fn place(range: &Range, rows_of_table: u64) -> (u32, bool, u64, u64, u64, u128) {
    (
        range.tries,
        range.counts.all() == 0,
        rows_of_table,
        u64::MAX - range.written,
        range.round,
        range.keys.first.as_u128(),
    )
}

/// Rows of a table on Landing; a table that was never compared comes last.
fn rows_of(record: &Record, table: Table) -> u64 {
    let of_table = record.ranges.iter().filter(|range| range.table == table);
    of_table.map(|range| range.rows).try_fold(0_u64, |all, rows| all.checked_add(rows?)).unwrap_or(u64::MAX)
}

/// How long to rest after `worked`, so that the comparison takes `share` of the time: with 0.1, nine seconds for each
/// second.
pub fn rest(worked: Duration, share: f64) -> Duration {
    let rest = worked.as_secs_f64() * (1.0 / share - 1.0);
    Duration::try_from_secs_f64(rest.max(0.0)).map_or(LONGEST_REST, |rest| rest.min(LONGEST_REST))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
