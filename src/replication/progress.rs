//! Progress and lag of the stream; pure but for the channels that carry the values.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::reached::Reached;
use crate::model::timestamp::Timestamp;
use crate::postgres::wal::Sample;

/// Position of the stream at one moment.
///
/// Only a commit on the target moves `applied`; a keepalive moves `applied` only while no change is in
/// flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Everything before this position is committed on the target.
    applied: Reached,
    /// Commit time of the oldest transaction of the batch that is being applied.
    applying: Option<Timestamp>,
    /// Commit time of the oldest collected transaction, waiting for the next batch.
    collecting: Option<Timestamp>,
}

/// Lag as defined in guarantees 6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    pub bytes: u64,
    pub seconds: f64,
}

impl StreamPosition {
    /// Position before which everything is committed on the target.
    pub fn applied(&self) -> Lsn {
        self.applied.lsn()
    }

    fn in_flight(&self) -> bool {
        self.applying.is_some() || self.collecting.is_some()
    }

    /// Lag against a sample of the source. All compared times are by the source's clock.
    pub fn lag(&self, landing: &Sample) -> Lag {
        let bytes = landing.flushed.bytes_since(self.applied());
        let oldest = self.applying.or(self.collecting);
        let seconds = match oldest {
            Some(committed) => landing.now.seconds_since(committed),
            // The WAL after the applied position is not decoded yet. Every commit in that WAL is later than
            // the moment of the last catch-up.
            None if bytes > 0 => landing.now.seconds_since(self.applied.caught_up_at()),
            None => 0.0,
        };
        Lag { bytes, seconds }
    }
}

/// The shared [`StreamPosition`]: capture and apply write the position, the monitor reads the position.
#[derive(Debug, Default)]
pub struct Progress {
    standing: watch::Sender<StreamPosition>,
    abandoned: Notify,
    /// Reason of the abandonment, until a task takes the reason.
    cause: Mutex<Option<Error>>,
    /// Whether commits on the source wait for acknowledgements (synchronous replication).
    hurried: AtomicBool,
}

impl Progress {
    /// Starts a stream at a durable position of the target, and drops everything in flight of the stream
    /// before. No other method moves to an earlier position; another slot or another direction may need an
    /// earlier position.
    pub fn begin(&self, at: Position) {
        self.hurried.store(false, Ordering::Relaxed);
        // A reason that no task has taken belongs to an earlier stream.
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.standing.send_replace(StreamPosition {
            applied: Reached::new(at),
            applying: None,
            collecting: None,
        });
    }

    /// Records a captured change, waiting for the next batch.
    pub fn captured(&self, committed: Timestamp) {
        self.standing.send_if_modified(|standing| {
            standing.collecting.is_none() && {
                standing.collecting = Some(committed);
                true
            }
        });
    }

    /// Records that the waiting changes are handed over to apply. `left` is the commit time of the oldest
    /// change that still waits.
    pub fn handed_over(&self, left: Option<Timestamp>) {
        self.standing.send_modify(|standing| {
            standing.applying = standing.applying.or(standing.collecting);
            standing.collecting = left;
        });
    }

    /// Records a commit on the target that covers the source up to `end`.
    pub fn committed(&self, end: Position) {
        self.standing.send_modify(|standing| {
            standing.applying = None;
            standing.applied.advance(end);
        });
    }

    /// Records a keepalive between transactions. Returns whether the keepalive counts: no change is in
    /// flight, and the position does not lie before `applied`. A server that decodes older WAL after a
    /// restart sends earlier positions.
    pub fn idle(&self, at: Position) -> bool {
        let mut counts = false;
        self.standing.send_modify(|standing| {
            counts = !standing.in_flight() && standing.applied.advance(at);
        });
        counts
    }

    /// Records that commits on the source wait for the stream. From now on each idle position is recorded
    /// without delay.
    pub fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    /// Ends a stream that does not end by itself: a half-open connection, or a stream that no longer sends
    /// all changes. Only tasks that wait at this moment are notified. The first of several reasons counts.
    pub fn abandon(&self, cause: Error) {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        self.abandoned.notify_waiters();
    }

    /// Resolves with the reason when the stream is abandoned after this call.
    pub async fn abandoned(&self) -> Error {
        self.given_up().await;
        self.cause()
    }

    /// Resolves when the stream is abandoned after this call, and leaves the reason to another task.
    pub async fn given_up(&self) {
        self.abandoned.notified().await;
    }

    /// Takes the reason of the abandonment. Only the first caller gets the reason.
    pub fn cause(&self) -> Error {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner).take();
        cause.unwrap_or_else(|| Error::unreachable("the stream was abandoned"))
    }

    pub fn standing(&self) -> StreamPosition {
        *self.standing.borrow()
    }

    pub fn subscribe(&self) -> watch::Receiver<StreamPosition> {
        self.standing.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(lsn: u64, at: i64) -> Position {
        Position { lsn: Lsn(lsn), commit_time: None, caught_up_at: Timestamp(at) }
    }

    fn sample(lsn: u64, now: i64) -> Sample {
        Sample { flushed: Lsn(lsn), inserted: Lsn(lsn), now: Timestamp(now) }
    }

    #[test]
    fn an_idle_landing_has_no_lag_whatever_other_tables_write() {
        let progress = Progress::default();
        progress.begin(position(100, 0));
        assert!(progress.idle(position(5_000, 2_000_000)));
        assert_eq!(progress.standing().lag(&sample(5_000, 9_000_000)), Lag { bytes: 0, seconds: 0.0 });
    }

    #[test]
    fn a_keepalive_moves_nothing_while_a_change_is_in_flight() {
        let progress = Progress::default();
        progress.begin(position(100, 0));
        progress.captured(Timestamp(1));
        assert!(!progress.idle(position(500, 2)));
        progress.handed_over(None);
        assert!(!progress.idle(position(500, 2)));
        assert_eq!(progress.standing().applied(), Lsn(100));
        progress.committed(position(400, 1));
        assert!(progress.idle(position(500, 2)));
        assert_eq!(progress.standing().applied(), Lsn(500));
    }

    #[test]
    fn a_keepalive_of_a_server_that_decodes_old_wal_again_moves_neither_position_nor_time() {
        let progress = Progress::default();
        progress.begin(position(100, 1_000_000));
        assert!(!progress.idle(position(40, 9_000_000)));
        assert_eq!(progress.standing().lag(&sample(101, 4_000_000)), Lag { bytes: 1, seconds: 3.0 });
        assert!(progress.idle(position(100, 9_000_000)));
    }

    #[test]
    fn the_lag_in_seconds_is_the_age_of_the_oldest_transaction_not_applied() {
        let progress = Progress::default();
        progress.begin(position(100, 0));
        progress.captured(Timestamp(1_000_000));
        progress.handed_over(None);
        progress.captured(Timestamp(3_000_000));
        progress.captured(Timestamp(4_000_000));
        assert_eq!(progress.standing().lag(&sample(900, 5_000_000)).seconds, 4.0);
        progress.committed(position(300, 1_000_000));
        assert_eq!(progress.standing().lag(&sample(900, 5_000_000)), Lag { bytes: 600, seconds: 2.0 });
    }

    #[test]
    fn wal_that_was_not_examined_counts_from_the_moment_we_had_caught_up() {
        let progress = Progress::default();
        progress.begin(position(100, 1_000_000));
        assert_eq!(progress.standing().lag(&sample(101, 4_000_000)), Lag { bytes: 1, seconds: 3.0 });
    }

    #[test]
    fn a_transaction_larger_than_a_batch_stays_in_flight_until_its_commit() {
        let progress = Progress::default();
        progress.begin(position(100, 0));
        for _ in 0..3 {
            progress.captured(Timestamp(1));
            progress.handed_over(None);
        }
        assert!(!progress.idle(position(999, 9)));
        progress.committed(position(200, 1));
        assert!(progress.idle(position(999, 9)));
    }
}
