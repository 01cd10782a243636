//! Where background verification leaves rows for the applier, which alone writes to Traffic.
//!
//! A row is read on Landing by the verification's own session, and written by the applier between two batches. In the
//! meantime the stream goes on, so an image may be overtaken. The order of the steps keeps an older image from being
//! written (docs/design.md, "Background verification"): the keys are watched first, then the row is read in a snapshot
//! that sees every transaction that was streamed by then, then the applier's position passes everything that the
//! snapshot sees, and whatever the stream touches in between is left out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::model::change::{Change, SourcedChange, Table};
use crate::traffic::RowCounts;

/// Rows to be written to Traffic as Landing has them.
#[derive(Debug)]
pub struct RepairOrder {
    pub table: Table,
    /// Ids without a row on Landing are deletes.
    pub changes: Vec<SourcedChange>,
    pub done: oneshot::Sender<RepairDone>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairDone {
    /// Committed; the rows that the stream has overtaken, or that another session holds, are not among the counts.
    Written(RowCounts),
    /// Nothing was written, because a cutover or a rollback is under way.
    Refused,
}

/// One order at a time.
#[derive(Debug, Default)]
pub struct RepairDesk {
    state: Mutex<Desk>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Desk {
    /// Whether a stream runs whose applier takes orders.
    is_open: bool,
    /// The keys that are watched, each with whether the stream has touched it since.
    watched: HashMap<(Table, Uuid), bool>,
    order: Option<RepairOrder>,
}

impl RepairDesk {
    /// A stream begins. Whatever was left for an earlier stream is dropped, because that stream's position may have been
    /// ahead of this one's.
    pub fn open(&self) {
        *self.desk() = Desk { is_open: true, ..Desk::default() };
    }

    /// The stream has ended.
    pub fn close(&self) {
        *self.desk() = Desk::default();
    }

    /// Watches rows of one table from now on, and no other rows. Returns false while no stream runs.
    pub fn watch(&self, table: Table, ids: &[Uuid]) -> bool {
        let mut desk = self.desk();
        desk.order = None;
        desk.watched = ids.iter().map(|id| ((table, *id), false)).collect();
        desk.is_open
    }

    /// Leaves the watched rows for the applier. A stream that has begun since [`RepairDesk::watch`] watches nothing, so
    /// that the order stays empty.
    pub fn leave(&self, mut order: RepairOrder) {
        let mut desk = self.desk();
        order
            .changes
            .retain(|sourced| sourced.change.key().is_some_and(|key| desk.watched.contains_key(&key)));
        desk.order = Some(order).filter(|_| desk.is_open);
        drop(desk);
        self.left.notify_one();
    }

    /// Ends the watch. An order that was not taken is dropped.
    pub fn leave_nothing(&self) {
        let mut desk = self.desk();
        desk.order = None;
        desk.watched = HashMap::new();
    }

    /// Records what a batch is going to change, before the batch is written. A batch that was begun before the watch
    /// holds only transactions that the later reading on Landing sees.
    pub fn touched(&self, changes: &[SourcedChange]) {
        let mut desk = self.desk();
        if desk.watched.is_empty() {
            return;
        }
        for SourcedChange { change, .. } in changes {
            let mut touch = |table, id| {
                if let Some(is_touched) = desk.watched.get_mut(&(table, id)) {
                    *is_touched = true;
                }
            };
            match change {
                Change::Write { row, old_id, .. } => {
                    touch(row.table, row.id);
                    if let Some(old) = old_id {
                        touch(row.table, *old);
                    }
                }
                Change::Delete { table, id } => touch(*table, *id),
                Change::Truncate { .. } => {
                    desk.watched.values_mut().for_each(|is_touched| *is_touched = true)
                }
            }
        }
    }

    /// The next order, without the rows that the stream has touched. Cancellation-safe: an order stays until taken.
    pub async fn next(&self) -> RepairOrder {
        loop {
            if let Some(order) = self.take() {
                return order;
            }
            self.left.notified().await;
        }
    }

    fn take(&self) -> Option<RepairOrder> {
        let mut desk = self.desk();
        let mut order = desk.order.take()?;
        let watched = std::mem::take(&mut desk.watched);
        order
            .changes
            .retain(|sourced| sourced.change.key().is_some_and(|key| watched.get(&key) == Some(&false)));
        Some(order)
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Origin;
    use crate::model::lsn::Lsn;
    use crate::model::timestamp::Timestamp;

    const TABLE: Table = Table::LandingLeads;

    fn delete(id: u128) -> SourcedChange {
        let origin = Origin { xid: None, commit_lsn: Lsn(1), commit_time: Timestamp(0) };
        SourcedChange { origin, change: Change::Delete { table: TABLE, id: Uuid::from_u128(id) } }
    }

    fn order(ids: &[u128]) -> RepairOrder {
        RepairOrder {
            table: TABLE,
            changes: ids.iter().copied().map(delete).collect(),
            done: oneshot::channel().0,
        }
    }

    fn ids(ids: &[u128]) -> Vec<Uuid> {
        ids.iter().copied().map(Uuid::from_u128).collect()
    }

    fn taken(desk: &RepairDesk) -> Option<Vec<Uuid>> {
        let order = desk.take()?;
        Some(order.changes.iter().filter_map(|sourced| Some(sourced.change.key()?.1)).collect())
    }

    #[test]
    fn a_row_that_the_stream_touches_between_the_watch_and_the_write_is_left_out() {
        let desk = RepairDesk::default();
        desk.open();
        assert!(desk.watch(TABLE, &ids(&[1, 2, 3])));
        desk.touched(&[delete(2)]);
        desk.leave(order(&[1, 2, 3]));
        desk.touched(&[delete(3)]);
        assert_eq!(taken(&desk), Some(ids(&[1])));
        assert_eq!(taken(&desk), None);
    }

    #[test]
    fn another_stream_takes_nothing_that_was_watched_during_an_earlier_one() {
        let desk = RepairDesk::default();
        assert!(!desk.watch(TABLE, &ids(&[1])), "no stream runs");
        desk.open();
        desk.watch(TABLE, &ids(&[1]));
        desk.open();
        desk.leave(order(&[1]));
        assert_eq!(taken(&desk), Some(Vec::new()));
        desk.watch(TABLE, &ids(&[1]));
        desk.leave(order(&[1]));
        desk.close();
        assert_eq!(taken(&desk), None);
    }
}
