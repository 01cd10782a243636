//! The past of the replication for charts: the last ten minutes in columns of five seconds, and the last day in columns
//! of a minute, in about 110 KiB for as long as the daemon runs.
//!
//! Unlike [`super::history`], which compares positions, the past goes on over a change of direction: lag and rows in a
//! second mean the same before and after.

use std::time::Duration;

use super::Live;
use super::columns::{ChartColumn, Columns, MomentFigures};

/// The columns of ten minutes: length and number.
const RECENT: (Duration, usize) = (Duration::from_secs(5), 120);
/// The columns of a day.
const DAY: (Duration, usize) = (Duration::from_secs(60), 24 * 60);

/// A length of time that a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    TenMinutes,
    #[default]
    ThreeHours,
    Day,
}

impl Window {
    pub const ALL: [Window; 3] = [Window::TenMinutes, Window::ThreeHours, Window::Day];

    pub fn length(self) -> Duration {
        self.column() * u32::try_from(self.columns()).unwrap_or(u32::MAX)
    }

    /// Time that a column of the chart shows.
    pub fn column(self) -> Duration {
        match self {
            Window::TenMinutes => RECENT.0,
            Window::ThreeHours => DAY.0,
            Window::Day => DAY.0 * 8,
        }
    }

    /// Columns of the chart.
    pub fn columns(self) -> usize {
        match self {
            Window::TenMinutes => RECENT.1,
            Window::ThreeHours | Window::Day => 180,
        }
    }
}

/// Bounded, however long the daemon runs.
#[derive(Debug)]
pub struct Past {
    recent: Columns,
    day: Columns,
    /// The time of the latest sample, and the rows written until then.
    last: Option<(Duration, u64)>,
}

impl Default for Past {
    fn default() -> Self {
        Past { recent: Columns::new(RECENT.0, RECENT.1), day: Columns::new(DAY.0, DAY.1), last: None }
    }
}

impl Past {
    /// Adds the state at the time `at` of the process's monotonic clock. `answered` is whether the source has just
    /// answered: otherwise its lag is not known.
    pub fn add(&mut self, live: &Live, at: Duration, answered: bool) {
        // A copy that begins again counts its rows from 0 again.
        let rows = live.rows_applied.saturating_add(live.snapshot_rows().0);
        let written = self.last.and_then(|(before, earlier)| {
            let seconds = at.saturating_sub(before).as_secs_f64();
            let grown = rows.checked_sub(earlier)?;
            (seconds > 0.0).then_some((grown as f64, seconds))
        });
        let figures = MomentFigures {
            lag_bytes: live.lag_bytes.filter(|_| answered),
            lag_seconds: live.lag_seconds.filter(|_| answered),
            written,
        };
        self.recent.add(at, figures);
        self.day.add(at, figures);
        self.last = Some((at, rows));
    }

    /// The columns of a window up to `now`, the oldest first: always [`Window::columns`] of them. What lies before the
    /// start of the process is not known.
    pub fn columns(&self, window: Window, now: Duration) -> Vec<ChartColumn> {
        let columns = if window == Window::TenMinutes { &self.recent } else { &self.day };
        let merged =
            usize::try_from(window.column().as_secs() / columns.length().as_secs()).unwrap_or(1).max(1);
        let width = window.columns() * merged;
        let known = columns.newest(now, width);
        let mut all = vec![ChartColumn::default(); width.saturating_sub(known.len())];
        all.extend(known);
        all.chunks(merged).map(ChartColumn::of_neighbours).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TableProgress;

    fn live(rows_applied: u64, lag: u64) -> Live {
        Live { rows_applied, lag_bytes: Some(lag), lag_seconds: Some(lag as f64), ..Live::starting() }
    }

    #[test]
    fn a_month_takes_no_more_memory_than_a_day_and_every_window_is_full() {
        let mut past = Past::default();
        let bytes = past.recent.capacity_bytes() + past.day.capacity_bytes();
        assert!((100 << 10..=112 << 10).contains(&bytes), "{bytes}");
        let month = 30 * 86_400_u64;
        for second in (0..=month).step_by(4) {
            past.add(&live(second * 7, second % 100), Duration::from_secs(second), true);
        }
        assert_eq!(past.recent.capacity_bytes() + past.day.capacity_bytes(), bytes);
        for window in Window::ALL {
            let columns = past.columns(window, Duration::from_secs(month));
            assert_eq!(columns.len(), window.columns());
            assert!(columns.iter().all(|column| column.rows_per_second == Some(7.0)), "{window:?}");
            assert!(columns.iter().all(|column| column.lag_bytes.is_some()), "{window:?}");
        }
        assert_eq!(Window::ALL.map(|window| window.length().as_secs()), [600, 3 * 3600, 24 * 3600]);
    }

    #[test]
    fn what_nobody_measured_is_not_known_rather_than_zero() {
        let mut past = Past::default();
        past.add(&live(0, 5), Duration::from_secs(1), true);
        past.add(&live(10, 6), Duration::from_secs(2), false);
        let columns = past.columns(Window::TenMinutes, Duration::from_secs(14));
        let known = columns.iter().filter(|column| column.lag_bytes.is_some()).count();
        assert_eq!(known, 1, "before the start, and after the last sample, nothing is known");
        let first = columns.iter().find(|column| column.lag_bytes.is_some()).unwrap();
        assert_eq!((first.lag_bytes, first.rows_per_second), (Some(5), Some(10.0)));
        assert_eq!(columns.last(), Some(&ChartColumn::default()));
    }

    #[test]
    fn the_rows_of_a_copy_count_and_a_copy_that_begins_again_has_no_negative_rate() {
        let copied = |rows_done| {
            let table = "landing_leads".to_owned();
            let table = TableProgress { table, rows_done, rows_expected: None, finished: false };
            Live { snapshot: vec![table], ..live(0, 0) }
        };
        let mut past = Past::default();
        for (second, rows) in [(1, 0), (2, 100), (3, 0), (4, 50)] {
            past.add(&copied(rows), Duration::from_secs(second), true);
        }
        let rate = past.columns(Window::TenMinutes, Duration::from_secs(4)).last().unwrap().rows_per_second;
        assert_eq!(rate, Some(75.0));
    }
}
