//! Figures of the past as columns of equal length, for charts: in bounded memory; pure.

use std::collections::VecDeque;
use std::time::Duration;

/// What a column of the charts shows; `None` where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChartColumn {
    /// The highest lag.
    pub lag_bytes: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// Rows in a second, on average.
    pub rows_per_second: Option<f64>,
}

/// Figures of one moment. An unknown figure is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MomentFigures {
    pub lag_bytes: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// Rows written since the moment before, and the seconds in between, which are more than 0.
    pub written: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    number: u64,
    column: ChartColumn,
    rows: f64,
    seconds: f64,
}

/// The newest columns. Bounded, whatever is added.
#[derive(Debug)]
pub struct Columns {
    length: Duration,
    kept: usize,
    buckets: VecDeque<Bucket>,
}

impl Columns {
    /// Keeps the newest `kept` columns of `length`, which is a second or more.
    pub fn new(length: Duration, kept: usize) -> Self {
        Columns { length, kept, buckets: VecDeque::with_capacity(kept + 1) }
    }

    /// Time that one column shows.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Adds the figures of the moment `at`, on a clock that never jumps. Moments come in the order of time.
    pub fn add(&mut self, at: Duration, figures: MomentFigures) {
        let number = self.number(at);
        if self.buckets.back().is_none_or(|last| last.number < number) {
            self.buckets.push_back(Bucket { number, ..Bucket::default() });
            if self.buckets.len() > self.kept {
                self.buckets.pop_front();
            }
        }
        if let Some(last) = self.buckets.back_mut() {
            last.take(figures);
        }
    }

    /// The newest `width` columns up to `now`, the oldest first. Fewer where the first column is younger.
    pub fn newest(&self, now: Duration, width: usize) -> Vec<ChartColumn> {
        let (Some(first), Some(newest)) = (self.buckets.front(), self.buckets.back()) else {
            return Vec::new();
        };
        let begun = first.number;
        // A column that has just begun is shown with its first figures, and as not known when it ends without any.
        let last = match self.number(now) {
            begun if begun == newest.number.saturating_add(1) => newest.number,
            last => last,
        };
        let width = u64::try_from(width.min(self.kept)).unwrap_or(u64::MAX);
        let first = (last + 1).saturating_sub(width).max(begun.min(last));
        let mut columns = vec![ChartColumn::default(); usize::try_from(last + 1 - first).unwrap_or(0)];
        for bucket in &self.buckets {
            let place = bucket.number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
            if let Some(column) = place.and_then(|place| columns.get_mut(place)) {
                *column = bucket.column;
            }
        }
        columns
    }

    /// Bytes that the columns take at most.
    pub fn capacity_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    fn number(&self, at: Duration) -> u64 {
        at.as_secs() / self.length.as_secs().max(1)
    }
}

impl Bucket {
    fn take(&mut self, figures: MomentFigures) {
        self.column.take_lag(figures.lag_bytes, figures.lag_seconds);
        if let Some((rows, seconds)) = figures.written {
            self.rows += rows;
            self.seconds += seconds;
            self.column.rows_per_second = Some(self.rows / self.seconds);
        }
    }
}

impl ChartColumn {
    fn take_lag(&mut self, bytes: Option<u64>, seconds: Option<f64>) {
        self.lag_bytes = self.lag_bytes.max(bytes);
        // Unlike `Ord::max`, this takes a figure over no figure, and no NaN over a figure.
        self.lag_seconds = match (self.lag_seconds, seconds.filter(|seconds| seconds.is_finite())) {
            (Some(most), Some(seconds)) => Some(most.max(seconds)),
            (most, seconds) => most.or(seconds),
        };
    }

    /// One column in place of several neighbours of equal length: the highest lag, and the mean of the known rates.
    pub fn of_neighbours(columns: &[ChartColumn]) -> ChartColumn {
        let mut merged = ChartColumn::default();
        let rates = columns.iter().filter_map(|column| column.rows_per_second);
        let (count, sum) = rates.fold((0_u32, 0.0), |(count, sum), rate| (count + 1, sum + rate));
        merged.rows_per_second = (count > 0).then(|| sum / f64::from(count));
        columns.iter().for_each(|column| merged.take_lag(column.lag_bytes, column.lag_seconds));
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lag: u64, rows: f64) -> MomentFigures {
        MomentFigures { lag_bytes: Some(lag), lag_seconds: Some(lag as f64), written: Some((rows, 1.0)) }
    }

    #[test]
    fn a_column_has_the_highest_lag_and_the_mean_rate_of_its_moments() {
        let mut columns = Columns::new(Duration::from_secs(5), 10);
        for (second, lag, rows) in [(0, 3, 10.0), (1, 9, 20.0), (4, 1, 30.0)] {
            columns.add(Duration::from_secs(second), figures(lag, rows));
        }
        let expected =
            ChartColumn { lag_bytes: Some(9), lag_seconds: Some(9.0), rows_per_second: Some(20.0) };
        assert_eq!(columns.newest(Duration::from_secs(4), 10), [expected]);
    }

    #[test]
    fn neighbours_without_a_figure_take_nothing_from_those_with_one() {
        let known = ChartColumn { lag_bytes: Some(4), lag_seconds: Some(0.5), rows_per_second: Some(6.0) };
        let higher = ChartColumn { lag_bytes: Some(9), lag_seconds: None, rows_per_second: Some(2.0) };
        let merged = ChartColumn::of_neighbours(&[ChartColumn::default(), known, higher]);
        let expected = ChartColumn { lag_bytes: Some(9), lag_seconds: Some(0.5), rows_per_second: Some(4.0) };
        assert_eq!(merged, expected);
        assert_eq!(ChartColumn::of_neighbours(&[ChartColumn::default()]), ChartColumn::default());
    }
}
