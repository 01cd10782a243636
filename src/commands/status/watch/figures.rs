//! The figures of the last minutes, for the charts; pure.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::lsn::Lsn;
use crate::telemetry::columns::{ChartColumn, Columns, MomentFigures};

/// Time that one column of a chart shows.
pub const COLUMN: Duration = Duration::from_secs(5);
/// Columns that are kept: as many as the widest screen shows.
const COLUMNS: usize = 400;
/// Time over which a rate is a mean.
const WINDOW: Duration = Duration::from_secs(10);
/// FigureSamples that are kept for rates, however fast the answers come.
const SAMPLES: usize = 64;

/// Figures of one answer. An unknown figure is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct FigureSample {
    /// Since the watch began, by a clock that never jumps.
    pub at: Duration,
    pub lag_bytes: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// What the daemon has counted.
    pub daemon: Option<DaemonCounts>,
    pub landing_lsn: Option<Lsn>,
    pub applied_lsn: Option<Lsn>,
}

/// Counts since the daemon's process started.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonCounts {
    /// Start of the process, by which a restart is known.
    pub process: Option<Timestamp>,
    /// Rows written, by the stream and by the copy.
    pub rows: u64,
    /// Rows of each table of the copy.
    pub copied: Vec<(String, u64)>,
}

/// Bounded, whatever is added.
#[derive(Debug)]
pub struct RecentFigures {
    columns: Columns,
    samples: VecDeque<FigureSample>,
}

impl Default for RecentFigures {
    fn default() -> Self {
        RecentFigures { columns: Columns::new(COLUMN, COLUMNS), samples: VecDeque::new() }
    }
}

impl RecentFigures {
    /// Adds an answer. An answer that is older than the newest one is left out, because its place in the charts is
    /// taken.
    pub fn add(&mut self, sample: FigureSample) {
        if self.samples.back().is_some_and(|last| sample.at < last.at) {
            return;
        }
        let written = self.samples.back().and_then(|last| between(last, &sample));
        let FigureSample { at, lag_bytes, lag_seconds, .. } = sample;
        self.columns.add(at, MomentFigures { lag_bytes, lag_seconds, written });
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES || self.is_first_needless() {
            self.samples.pop_front();
        }
    }

    /// Whether the window is covered without the oldest sample.
    fn is_first_needless(&self) -> bool {
        let (Some(second), Some(last)) = (self.samples.get(1), self.samples.back()) else { return false };
        last.at.saturating_sub(second.at) >= WINDOW
    }

    /// The newest `width` columns up to `now`, the oldest first. Fewer where the watch is younger.
    pub fn columns(&self, now: Duration, width: usize) -> Vec<ChartColumn> {
        self.columns.newest(now, width)
    }

    /// Rows that the daemon writes in a second; `None` unless one process has answered at both ends of the window.
    pub fn rows_per_second(&self) -> Option<f64> {
        self.rate(|from, to| {
            let (from, to) = same_process(from, to)?;
            to.rows.checked_sub(from.rows)
        })
    }

    /// Time over which the rates are taken.
    pub fn window(&self) -> Duration {
        let (first, last) = (self.samples.front(), self.samples.back());
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last.at.saturating_sub(first.at))
    }

    /// Rows of a table that are copied in a second.
    pub fn copied_per_second(&self, table: &str) -> Option<f64> {
        let of =
            |counts: &DaemonCounts| counts.copied.iter().find(|(name, _)| name == table).map(|copy| copy.1);
        self.rate(|from, to| {
            let (from, to) = same_process(from, to)?;
            // A table that was not listed yet had no row.
            of(to)?.checked_sub(of(from).unwrap_or(0))
        })
    }

    /// Bytes of WAL that Landing writes in a second, and that are applied in a second.
    pub fn wal_per_second(&self) -> Option<(f64, f64)> {
        let moved = |at: fn(&FigureSample) -> Option<Lsn>| {
            self.rate(|from, to| {
                let (from, to) = (at(from)?, at(to)?);
                (from <= to).then(|| to.bytes_since(from))
            })
        };
        Some((moved(|sample| sample.landing_lsn)?, moved(|sample| sample.applied_lsn)?))
    }

    fn rate(&self, grown: impl Fn(&FigureSample, &FigureSample) -> Option<u64>) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.at.saturating_sub(first.at).as_secs_f64();
        (seconds > 0.0).then(|| grown(first, last)).flatten().map(|grown| grown as f64 / seconds)
    }
}

fn same_process<'s>(
    from: &'s FigureSample,
    to: &'s FigureSample,
) -> Option<(&'s DaemonCounts, &'s DaemonCounts)> {
    let (from, to) = (from.daemon.as_ref()?, to.daemon.as_ref()?);
    (from.process == to.process).then_some((from, to))
}

/// Rows that one process has written between two answers, and the seconds between.
fn between(from: &FigureSample, to: &FigureSample) -> Option<(f64, f64)> {
    let seconds = to.at.saturating_sub(from.at).as_secs_f64();
    let (from, to) = same_process(from, to)?;
    let rows = to.rows.checked_sub(from.rows)?;
    (seconds > 0.0).then_some((rows as f64, seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(at: f64, rows: u64) -> FigureSample {
        FigureSample {
            at: Duration::from_secs_f64(at),
            lag_bytes: Some(rows),
            lag_seconds: Some(at),
            daemon: Some(DaemonCounts { process: None, rows, copied: vec![("t".into(), rows)] }),
            landing_lsn: Some(Lsn(rows * 100)),
            applied_lsn: Some(Lsn(rows * 50)),
        }
    }

    #[test]
    fn a_rate_is_the_growth_of_the_last_ten_seconds() {
        let mut history = RecentFigures::default();
        assert_eq!(history.rows_per_second(), None);
        for second in 0..60 {
            history.add(sample(f64::from(second), u64::try_from(second).unwrap() * 7));
        }
        assert_eq!(history.rows_per_second(), Some(7.0));
        assert_eq!(history.copied_per_second("t"), Some(7.0));
        assert_eq!(history.copied_per_second("another"), None);
        assert_eq!(history.wal_per_second(), Some((700.0, 350.0)));
        history.add(sample(70.0, 59 * 7));
        assert_eq!(history.rows_per_second(), Some(0.0), "positions that stand still");
    }

    #[test]
    fn a_restarted_daemon_has_no_rate_before_its_second_answer() {
        let mut history = RecentFigures::default();
        history.add(sample(0.0, 1_000));
        let mut restarted = sample(1.0, 5_000);
        restarted.daemon.as_mut().unwrap().process = Some(Timestamp::UNIX_EPOCH);
        history.add(restarted);
        assert_eq!(history.rows_per_second(), None);
        assert_eq!(history.columns(Duration::from_secs(1), 9)[0].rows_per_second, None);
    }

    #[test]
    fn a_column_without_an_answer_is_not_known_rather_than_zero() {
        let mut history = RecentFigures::default();
        history.add(sample(1.0, 3));
        history.add(sample(21.0, 4));
        let lags = |now| {
            let columns = history.columns(Duration::from_secs(now), 50);
            columns.iter().map(|column| column.lag_bytes).collect::<Vec<_>>()
        };
        assert_eq!(lags(26), [Some(3), None, None, None, Some(4)], "the sixth column may still be answered");
        assert_eq!(lags(31), [Some(3), None, None, None, Some(4), None, None]);
        assert_eq!(history.columns(Duration::from_secs(31), 2).len(), 2);
    }

    fn any_sample() -> impl Strategy<Value = FigureSample> {
        let counts =
            (any::<bool>(), any::<u64>(), any::<u64>()).prop_map(|(restarted, rows, copied)| DaemonCounts {
                process: restarted.then_some(Timestamp::UNIX_EPOCH),
                rows,
                copied: vec![("t".into(), copied)],
            });
        let lsn = || proptest::option::of(any::<u64>().prop_map(Lsn));
        let seconds = proptest::option::of(any::<f64>());
        let at = prop_oneof![(0_u64..100_000).prop_map(Duration::from_millis), any::<Duration>()];
        (at, any::<Option<u64>>(), seconds, proptest::option::of(counts), lsn(), lsn()).prop_map(
            |(at, lag_bytes, lag_seconds, daemon, landing_lsn, applied_lsn)| FigureSample {
                at,
                lag_bytes,
                lag_seconds,
                daemon,
                landing_lsn,
                applied_lsn,
            },
        )
    }

    proptest! {
        #[test]
        fn no_sequence_of_answers_makes_a_negative_or_endless_figure(
            samples in proptest::collection::vec(any_sample(), 0..200),
            now in any::<Duration>(),
            width in 0_usize..1_000,
        ) {
            let mut history = RecentFigures::default();
            for sample in samples {
                history.add(sample);
                prop_assert!(history.samples.len() <= SAMPLES);
            }
            let mut rates = vec![history.rows_per_second(), history.copied_per_second("t")];
            rates.extend(history.wal_per_second().map(|(written, _)| Some(written)));
            let columns = history.columns(now, width);
            prop_assert!(columns.len() <= width.min(COLUMNS));
            rates.extend(columns.iter().flat_map(|column| [column.rows_per_second, column.lag_seconds]));
            for rate in rates.into_iter().flatten() {
                prop_assert!(rate.is_finite(), "{rate}");
            }
        }
    }
}
