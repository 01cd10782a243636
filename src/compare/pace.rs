//! Progress and speed limit of a comparison, because Landing serves the school's site meanwhile.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared by the workers of one comparison.
#[derive(Debug)]
pub struct ReadRate {
    rows: AtomicU64,
    started: Instant,
    limit: Option<NonZeroU64>,
}

impl ReadRate {
    /// `limit` is in Landing rows per second, of all workers together.
    pub fn new(limit: Option<NonZeroU64>) -> Self {
        ReadRate { rows: AtomicU64::new(0), started: Instant::now(), limit }
    }

    /// Landing rows compared so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Counts a row, and returns the number of rows so far.
    pub(super) fn count(&self) -> u64 {
        self.rows.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until the elapsed time allows the number of rows read so far.
    pub(super) async fn keep(&self) {
        if let Some(ahead) = self.ahead(self.started.elapsed()) {
            tokio::time::sleep(ahead).await;
        }
    }

    fn ahead(&self, elapsed: Duration) -> Option<Duration> {
        let due = Duration::from_secs_f64(self.rows() as f64 / self.limit?.get() as f64);
        due.checked_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(limit: u64, rows: u64) -> ReadRate {
        let pace = ReadRate::new(NonZeroU64::new(limit));
        (0..rows).for_each(|_| _ = pace.count());
        pace
    }

    #[test]
    fn who_is_ahead_of_the_limit_waits_for_the_difference_and_nobody_else_waits() {
        let pace = pace(100, 250);
        assert_eq!(pace.ahead(Duration::from_secs(1)), Some(Duration::from_millis(1_500)));
        assert_eq!(pace.ahead(Duration::from_secs(3)), None);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        assert_eq!(pace(0, 250).ahead(Duration::ZERO), None);
    }
}
