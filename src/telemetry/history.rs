//! The recent past of the replication, in bounded memory: a sample for each of the monitor's rounds.
//!
//! Times are this process's monotonic clock, so a clock that is set changes nothing. A position that falls, and another
//! direction, begin the history again: positions before and after cannot be compared.

use std::collections::VecDeque;
use std::time::Duration;

use super::Live;
use crate::model::lsn::Lsn;
use crate::model::side::Side;

/// Samples of the monitor's rounds: ten minutes at one a second.
const RECENT: usize = 600;

/// What was known at one moment about the running direction. An unknown figure is `None`, never zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Time since the start of the process, by the monotonic clock.
    pub at: Duration,
    /// The side that is streamed from.
    pub source: Side,
    pub lag_bytes: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// Everything before this position of the source is committed on the target.
    pub applied: Option<Lsn>,
    /// The source's flushed WAL position.
    pub written: Option<Lsn>,
    /// WAL that the slot keeps on the source's disk, in bytes.
    pub retained: Option<u64>,
    /// Rows applied since the start of the process.
    pub rows: u64,
}

impl Sample {
    /// The sample that the live state gives at the time `at`. `answered` is whether the source has just answered: the
    /// live state keeps some figures of its last answer.
    pub fn of(live: &Live, at: Duration, answered: bool) -> Self {
        let (source, applied, written, retained) = match &live.reverse {
            Some(reverse) => {
                let applied = reverse.applied_lsn;
                let written = applied.zip(live.lag_bytes).map(|(at, lag)| Lsn(at.0.saturating_add(lag)));
                (Side::Traffic, applied, written, reverse.retained_bytes)
            }
            None => {
                let retained = live.slot.as_ref().and_then(|slot| slot.retained_bytes);
                (Side::Landing, live.applied_lsn, live.landing_lsn, retained)
            }
        };
        Sample {
            at,
            source,
            lag_bytes: live.lag_bytes.filter(|_| answered),
            lag_seconds: live.lag_seconds.filter(|_| answered),
            applied,
            written: written.filter(|_| answered),
            retained: retained.filter(|_| answered),
            rows: live.rows_applied,
        }
    }

    /// Whether `self` cannot follow `earlier` in one history.
    fn contradicts(&self, earlier: &Sample) -> bool {
        let fell = |before: Option<Lsn>, now: Option<Lsn>| matches!((before, now), (Some(before), Some(now)) if now < before);
        self.source != earlier.source || fell(earlier.applied, self.applied) || self.rows < earlier.rows
    }
}

/// Samples in the order of time, the newest last.
#[derive(Debug, Default)]
pub struct History {
    recent: VecDeque<Sample>,
}

impl History {
    /// Adds a sample. A sample that is no later than the last one is ignored.
    pub fn add(&mut self, sample: Sample) {
        if let Some(last) = self.recent.back() {
            if sample.at <= last.at {
                return;
            }
            // The source's position may fall without the applied position: a source restored from a backup.
            let source_fell =
                self.last_written().is_some_and(|before| sample.written.is_some_and(|now| now < before));
            if sample.contradicts(last) || source_fell {
                self.recent.clear();
            }
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(sample);
    }

    fn last_written(&self) -> Option<Lsn> {
        self.recent.iter().rev().find_map(|sample| sample.written)
    }

    pub fn latest(&self) -> Option<&Sample> {
        self.recent.back()
    }

    /// The samples of the last `window`, counted back from the latest sample, the oldest first: ten minutes at
    /// most.
    pub fn within(&self, window: Duration) -> impl DoubleEndedIterator<Item = &Sample> + Clone {
        let from = self.latest().map_or(Duration::ZERO, |latest| latest.at.saturating_sub(window));
        self.recent.iter().skip(self.recent.partition_point(|sample| sample.at < from))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sample at `second`, with everything known: `lag` bytes behind `written`, and `lag_seconds` behind.
    pub fn sample(second: u64, written: u64, lag: u64, lag_seconds: f64) -> Sample {
        Sample {
            at: Duration::from_secs(second),
            source: Side::Landing,
            lag_bytes: Some(lag),
            lag_seconds: Some(lag_seconds),
            applied: Some(Lsn(written - lag)),
            written: Some(Lsn(written)),
            retained: Some(lag),
            rows: second,
        }
    }

    #[test]
    fn memory_is_bounded_however_long_the_daemon_runs() {
        let mut history = History::default();
        for second in 1..=100_000 {
            history.add(sample(second, second, 0, 0.0));
        }
        assert_eq!(history.recent.len(), RECENT);
        assert_eq!(history.latest().unwrap().at, Duration::from_secs(100_000));
        assert_eq!(history.within(Duration::from_secs(60)).count(), 61);
    }

    #[test]
    fn a_clock_that_does_not_advance_adds_nothing() {
        let mut history = History::default();
        history.add(sample(5, 10, 0, 0.0));
        history.add(sample(5, 99, 0, 0.0));
        history.add(sample(4, 99, 0, 0.0));
        assert_eq!(history.within(Duration::MAX).count(), 1);
        assert_eq!(history.latest(), Some(&sample(5, 10, 0, 0.0)));
    }

    #[test]
    fn a_position_that_falls_and_another_direction_begin_the_history_again() {
        let earlier = [sample(1, 100, 50, 1.0), sample(2, 110, 50, 1.0)];
        let after = |next: Sample| {
            let mut history = History::default();
            earlier.iter().for_each(|sample| history.add(*sample));
            history.add(next);
            history.within(Duration::MAX).count()
        };
        assert_eq!(after(sample(3, 120, 50, 1.0)), 3);
        assert_eq!(after(sample(3, 120, 90, 1.0)), 1, "the applied position fell");
        assert_eq!(after(sample(3, 105, 40, 1.0)), 1, "the source's position fell");
        assert_eq!(after(Sample { source: Side::Traffic, ..sample(3, 120, 50, 1.0) }), 1);
        assert_eq!(after(Sample { rows: 0, ..sample(3, 120, 50, 1.0) }), 1);
        let unknown = Sample { written: None, lag_bytes: None, lag_seconds: None, ..sample(3, 120, 50, 1.0) };
        assert_eq!(after(unknown), 3, "a source that does not answer ends no history");
    }
}
