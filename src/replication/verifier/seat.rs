//! The sessions of background verification, and what it does with them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::Context;
use super::super::liveness::Work;
use super::{repairing, report};
use crate::compare::ranges::{RangedTable, basis};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::landing::catalog;
use crate::mapping::Mapping;
use crate::model::side::Side;
use crate::postgres::{Databases, Session};
use crate::verification::{ROWS, Range, Record, Round, record};

/// Longest wait for the stream to pass a row that differs, and for a row to be compared without a change in between. The
/// position of an idle stream is recorded once in `checkpoint_interval`, so the wait is at least three of these.
const PATIENCE: Duration = Duration::from_secs(30);

/// A statement is much shorter. A lock of a table is waited for only for a moment, because whoever wants the table after
/// us would wait behind us.
const LIMITS: &str = "SET statement_timeout = '60s'; SET lock_timeout = '2s'";

/// Both sessions, and the record as it is on Traffic.
pub struct Seat {
    pub landing: Session,
    pub traffic: Session,
    pub work: Work,
    pub record: Record,
    /// Whether the round in hand has tried to repair.
    pub has_repaired: bool,
    /// Whether rows are on their way to the applier.
    pub is_repairing: bool,
    /// Why the round in hand has not repaired rows that differ.
    pub not_repaired: Option<String>,
}

impl Seat {
    /// # Errors
    /// A database cannot be reached or read.
    pub async fn open(context: &Arc<Context>) -> Result<Self> {
        let config = &context.config;
        let (landing, traffic) = tokio::try_join!(
            config.landing.connect("background verify"),
            config.traffic.connect("background verify")
        )?;
        let work = context.verifying.watch(&[(Side::Landing, &landing), (Side::Traffic, &traffic)]);
        let names = context.names();
        let databases = Databases { landing: &landing, traffic: &traffic, names };
        for side in [Side::Landing, Side::Traffic] {
            let client = databases.on(side).client;
            context.verifying.terminate_stale_backends(side, client).await?;
            databases.on(side).during("limiting a session of verification").batch(LIMITS).await?;
        }
        let mut record = record::read(databases.on(Side::Traffic)).await?;
        let mapping = catalog::mapping(databases, &context.tables).await?;
        let basis = basis(databases.on(Side::Traffic), &mapping, &context.tables).await?;
        // A round that an earlier copy or version has begun says nothing: another round begins at once.
        record.round = record.round.map(|round| match round.basis == basis {
            true => round,
            false => {
                Round { begun_at: Timestamp::UNIX_EPOCH, ended_at: Some(Timestamp::UNIX_EPOCH), ..round }
            }
        });
        Ok(Seat {
            landing,
            traffic,
            work,
            record,
            has_repaired: false,
            is_repairing: false,
            not_repaired: None,
        })
    }

    pub fn databases<'s>(&'s self, context: &'s Context) -> Databases<'s> {
        Databases { landing: &self.landing, traffic: &self.traffic, names: context.names() }
    }

    pub async fn mapping(&self, context: &Context) -> Result<Mapping> {
        catalog::mapping(self.databases(context), &context.tables).await
    }

    /// Begins the next round.
    pub async fn begin(&mut self, context: &Context, now: Timestamp) -> Result<Duration> {
        let mapping = self.mapping(context).await?;
        let databases = Databases { landing: &self.landing, traffic: &self.traffic, names: context.names() };
        let traffic = databases.on(Side::Traffic);
        let basis = basis(traffic, &mapping, &context.tables).await?;
        let before = self.record.round.as_ref();
        let number = before.map_or(1, |round| round.number + 1);
        let last = before.and_then(|round| round.last.clone());
        let round = Round { number, basis, begun_at: now, ended_at: None, last, repaired: 0 };
        record::begin(traffic, &mut self.record, round, &context.tables).await?;
        (self.has_repaired, self.not_repaired) = (false, None);
        tracing::debug!(round = number, "background verification: a round begins");
        Ok(Duration::ZERO)
    }

    /// Divides a range that has too many rows.
    pub async fn divide(&mut self, context: &Context, at: usize) -> Result<Duration> {
        let range = self.range(at)?.clone();
        let databases = self.databases(context);
        let table = RangedTable::open(databases, range.table).await?;
        let parts = range.divided(&table.divide(range.keys, ROWS).await?);
        record::save_divided(databases.on(Side::Traffic), &parts).await?;
        self.record.ranges.splice(at..=at, parts);
        Ok(Duration::ZERO)
    }

    /// Compares a range. Returns the time that was spent waiting for the stream.
    pub async fn compare(&mut self, context: &Context, at: usize, now: Timestamp) -> Result<Duration> {
        let (databases, range) = (self.databases(context), self.range(at)?);
        let table = RangedTable::open(databases, range.table).await?;
        let known = range.known(context.config.verify.full_every, now);
        let patience = PATIENCE.max(3 * context.config.checkpoint_interval);
        let before = range.counts;
        let found = table.compare(range.keys, known, patience).await?;
        reach(Point::RangeCompared);
        let (read, waited) = (found.read, found.waited);
        let number = self.record.round.as_ref().map_or(0, |round| round.number);
        let range = self.record.ranges.get_mut(at).ok_or_else(gone)?;
        let is_news = range.take_in(found, number, now);
        if range.counts != before {
            tell(context, range);
        }
        if is_news {
            record::save(self.databases(context).on(Side::Traffic), self.range(at)?).await?;
            reach(Point::RangeRecorded);
        }
        report::count(context, |report| report.rows_read += read);
        Ok(waited)
    }

    /// Repairs the rows that differ, and compares their ranges again.
    pub async fn repair(&mut self, context: &Context, now: Timestamp) -> Result<Duration> {
        let begun = Instant::now();
        (self.has_repaired, self.is_repairing) = (true, true);
        let mut rows = 0;
        let outcome = repairing::repair(context, self, &mut rows).await;
        // Whatever is left on the desk would be looked up for every change of the stream.
        context.repairs.leave_nothing();
        if rows > 0 {
            self.count_repaired(context, rows).await?;
        }
        let left = outcome?;
        self.is_repairing = false;
        if let Some(why) = &left {
            tracing::warn!("background verification leaves rows as they are: {why}");
        }
        let is_written = rows > 0 || left.is_none();
        self.not_repaired = left;
        let ranges = self.record.ranges.iter().enumerate();
        let differ = ranges.filter(|(_, range)| is_written && range.counts.all() > 0);
        let differ: Vec<usize> = differ.map(|(at, _)| at).collect();
        for at in differ {
            self.compare(context, at, now).await?;
        }
        Ok(begun.elapsed())
    }

    async fn count_repaired(&mut self, context: &Context, rows: u64) -> Result<()> {
        let repaired = self.record.round.as_mut().map_or(0, |round| {
            round.repaired += rows;
            round.repaired
        });
        report::count(context, |report| report.repaired += rows);
        record::repaired(self.databases(context).on(Side::Traffic), repaired).await
    }

    /// Ends the round.
    pub async fn end(&mut self, context: &Context, now: Timestamp) -> Result<Duration> {
        let Some(round) = self.record.round.clone() else { return Err(gone()) };
        let result = self.record.result(&round, now, self.not_repaired.take());
        tracing::info!(
            round = result.number,
            rows = result.rows,
            differing = result.counts.all(),
            repaired = result.repaired,
            open_ranges = result.open_ranges,
            "background verification: a round has ended"
        );
        let round = Round { ended_at: Some(now), last: Some(result), ..round };
        record::end(self.databases(context).on(Side::Traffic), &round).await?;
        self.record.round = Some(round);
        report::count(context, |report| report.rounds += 1);
        Ok(Duration::ZERO)
    }

    fn range(&self, at: usize) -> Result<&Range> {
        self.record.ranges.get(at).ok_or_else(gone)
    }
}

/// Logs the rows that a range differs in now.
fn tell(context: &Context, range: &Range) {
    let table = context.names().landing_name(range.table);
    let counts = range.counts;
    match counts.all() {
        0 => tracing::info!(table, "background verification: rows that differed are equal now"),
        _ => tracing::warn!(
            table,
            missing = counts.missing,
            extra = counts.extra,
            different = counts.different,
            refused = counts.refused,
            quarantined = counts.quarantined,
            example = range.differing.first().map(tracing::field::display),
            "background verification: rows differ"
        ),
    }
}

fn gone() -> Error {
    Error::internal("background verification has lost a range of its record")
}
