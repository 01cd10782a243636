//! Positions that only advance.
//!
//! While an old transaction is open, a server that starts a stream decodes WAL from long before the stream's
//! start, and the keepalives of that time carry positions of the old WAL. An old position must lower neither
//! the position in memory nor the positions of Traffic, the local store and the slot. So every holder of a
//! position uses a type of this module, and a stream that must begin at an earlier position (another slot,
//! another direction) begins with a new value.

use tokio::sync::watch;

use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;

/// Last position reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached(Position);

impl Reached {
    pub fn new(at: Position) -> Self {
        Reached(at)
    }

    /// Advances to `to`. Returns false when `to` lies before the current position: then the position and its
    /// times stay, because a server at an earlier position has not caught up.
    pub fn advance(&mut self, to: Position) -> bool {
        let Reached(at) = *self;
        let advances = to.lsn >= at.lsn;
        if advances {
            *self = Reached(Position {
                lsn: to.lsn,
                commit_time: to.commit_time.or(at.commit_time),
                caught_up_at: to.caught_up_at.max(at.caught_up_at),
            });
        }
        advances
    }

    pub fn position(self) -> Position {
        self.0
    }

    pub fn lsn(self) -> Lsn {
        self.0.lsn
    }

    pub fn caught_up_at(self) -> Timestamp {
        self.0.caught_up_at
    }
}

/// Sending end of a channel of ascending positions.
#[derive(Debug)]
pub struct Advancing(watch::Sender<Lsn>);

impl Advancing {
    pub fn channel(from: Lsn) -> (Self, watch::Receiver<Lsn>) {
        let (sender, receiver) = watch::channel(from);
        (Advancing(sender), receiver)
    }

    /// Sends `to` if `to` lies after the last position; otherwise receivers are not notified.
    pub fn advance(&self, to: Lsn) {
        self.0.send_if_modified(|at| {
            let advances = to > *at;
            *at = to.max(*at);
            advances
        });
    }

    pub fn lsn(&self) -> Lsn {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lsn: u64, time: i64) -> Position {
        Position { lsn: Lsn(lsn), commit_time: None, caught_up_at: Timestamp(time) }
    }

    #[test]
    fn an_earlier_position_changes_neither_the_place_nor_the_time() {
        let mut reached = Reached::new(at(100, 10));
        assert!(!reached.advance(at(99, 50)));
        assert_eq!(reached.position(), at(100, 10));
        assert!(reached.advance(at(100, 20)), "the same place, later");
        assert!(reached.advance(at(101, 15)));
        assert_eq!(reached.position(), at(101, 20));
    }

    #[test]
    fn the_commit_time_of_the_last_transaction_stays_while_keepalives_advance() {
        let mut reached = Reached::default();
        reached.advance(Position { commit_time: Some(Timestamp(7)), ..at(5, 7) });
        reached.advance(at(9, 9));
        assert_eq!(reached.position().commit_time, Some(Timestamp(7)));
    }

    #[test]
    fn a_receiver_hears_of_later_positions_only() {
        let (sender, mut receiver) = Advancing::channel(Lsn(10));
        for lsn in [9, 10] {
            sender.advance(Lsn(lsn));
            assert!(!receiver.has_changed().unwrap());
        }
        sender.advance(Lsn(12));
        sender.advance(Lsn(11));
        assert!(receiver.has_changed().unwrap());
        assert_eq!((*receiver.borrow_and_update(), sender.lsn()), (Lsn(12), Lsn(12)));
    }
}
