//! Keys of changed rows, as a batch of reverse replication holds them; pure.
//!
//! A row is carried as Traffic has the row when the row is read. So a key that was touched a thousand times
//! is carried once, and carrying a key again after a crash does no harm.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Batch, Changes};
use crate::model::change::{Change, Origin, RowKey, SourcedChange, Table};

/// Keys by table, in the order in which tables are written.
pub type Keys = BTreeMap<Table, BTreeSet<Uuid>>;

/// The keys to carry in one step.
pub type Load = Batch<TouchedKeys>;

/// Keys touched by transactions on Traffic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TouchedKeys {
    pub keys: Keys,
    /// Keys among `keys` that the stream has deleted. In the retry at a start: all keys, because a
    /// quarantined row may be a delete that Landing refused.
    pub deleted: Keys,
    /// Tables that were emptied by a TRUNCATE. A row of `keys` may have been written before or after the
    /// TRUNCATE.
    pub truncated: BTreeSet<Table>,
    /// Transactions that must be visible on Traffic before the rows are read.
    pub xids: Vec<u32>,
}

impl TouchedKeys {
    /// Adds the key of a row that no longer exists under this key.
    fn delete(&mut self, (table, id): RowKey) {
        self.keys.entry(table).or_default().insert(id);
        self.deleted.entry(table).or_default().insert(id);
    }
}

impl Changes for TouchedKeys {
    type Row = RowKey;

    fn begin(&mut self, origin: Origin) {
        self.xids.extend(origin.xid);
    }

    fn add(&mut self, change: SourcedChange<RowKey>) {
        match change.change {
            Change::Write { row: (table, id), old_id, .. } => {
                self.keys.entry(table).or_default().insert(id);
                if let Some(old_id) = old_id {
                    self.delete((table, old_id));
                }
            }
            Change::Delete { table, id } => self.delete((table, id)),
            Change::Truncate { tables } => self.truncated.extend(tables),
        }
    }

    fn absorb(&mut self, later: &mut Self) {
        let later = std::mem::take(later);
        absorb(&mut self.keys, later.keys);
        absorb(&mut self.deleted, later.deleted);
        self.truncated.extend(later.truncated);
        self.xids.extend(later.xids);
    }

    fn rows(&self) -> usize {
        self.keys.values().map(BTreeSet::len).sum()
    }

    /// The bound in rows bounds the memory, because all keys have one size.
    fn size(_: &Change<RowKey>) -> usize {
        0
    }
}

fn absorb(keys: &mut Keys, more: Keys) {
    for (table, ids) in more {
        keys.entry(table).or_default().extend(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchLimits, Collector};
    use crate::model::change::{Operation, Position};
    use crate::model::lsn::Lsn;
    use crate::model::timestamp::Timestamp;

    type KeyCollector = Collector<TouchedKeys>;

    const LEADS: Table = Table::LandingLeads;

    fn at(lsn: u64) -> Position {
        Position { lsn: Lsn(lsn), commit_time: Some(Timestamp(1)), caught_up_at: Timestamp(1) }
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn collector(rows: usize, from: Position) -> KeyCollector {
        Collector::new(BatchLimits { rows, bytes: 1 }, from)
    }

    fn begin(collector: &mut KeyCollector, xid: u32, committed: i64) -> Origin {
        let commit_time = Timestamp(committed);
        let origin = Origin { xid: Some(xid), commit_lsn: Lsn(1), commit_time };
        collector.begin(origin);
        origin
    }

    fn touch(collector: &mut KeyCollector, origin: Origin, ids: &[u128]) {
        for n in ids {
            let change = Change::Write { operation: Operation::Update, row: (LEADS, id(*n)), old_id: None };
            collector.push(SourcedChange { origin, change });
        }
    }

    fn transaction(collector: &mut KeyCollector, xid: u32, ids: &[u128], end: u64) {
        let origin = begin(collector, xid, 1);
        touch(collector, origin, ids);
        collector.commit(at(end)).unwrap();
    }

    #[test]
    fn a_key_that_many_transactions_touch_is_carried_once() {
        let mut collector = collector(10, Position::default());
        transaction(&mut collector, 1, &[1, 2], 10);
        transaction(&mut collector, 2, &[2], 20);
        let load = collector.take();
        assert_eq!(
            (load.changes.rows(), load.transactions, load.end.map(|end| end.lsn)),
            (2, 2, Some(Lsn(20)))
        );
        assert_eq!(load.changes.xids, [1, 2]);
        assert!(!collector.is_ready());
    }

    #[test]
    fn only_whole_transactions_are_taken_while_there_are_any() {
        let mut collector = collector(3, Position::default());
        transaction(&mut collector, 1, &[1], 10);
        let origin = begin(&mut collector, 2, 2);
        touch(&mut collector, origin, &[2, 3]);
        assert!(collector.is_full());
        let load = collector.take();
        assert_eq!((load.changes.rows(), load.end.map(|end| end.lsn)), (1, Some(Lsn(10))));
        assert_eq!(collector.oldest(), Some(Timestamp(2)));
        collector.commit(at(20)).unwrap();
        assert_eq!(collector.take().changes.keys.get(&LEADS).map(BTreeSet::len), Some(2));
    }

    #[test]
    fn a_transaction_larger_than_a_load_is_taken_in_parts_and_ends_with_the_last() {
        let mut collector = collector(2, Position::default());
        let origin = begin(&mut collector, 7, 3);
        touch(&mut collector, origin, &[1, 2]);
        assert!(collector.is_full() && !collector.is_ready());
        let part = collector.take();
        assert_eq!((part.changes.rows(), part.end, part.changes.xids), (2, None, vec![7]));
        // A position inside a transaction is ignored.
        collector.advance(at(5));
        assert!(!collector.is_ready());
        collector.commit(at(20)).unwrap();
        let rest = collector.take();
        assert_eq!(
            (rest.changes.rows(), rest.end.map(|end| end.lsn), rest.transactions),
            (0, Some(Lsn(20)), 1)
        );
    }

    #[test]
    fn a_transaction_that_has_only_begun_is_under_way() {
        let mut collector = collector(10, Position::default());
        transaction(&mut collector, 1, &[1], 10);
        begin(&mut collector, 2, 2);
        collector.take();
        assert_eq!(collector.oldest(), Some(Timestamp(2)));
        collector.commit(at(20)).unwrap();
        assert_eq!(collector.oldest(), Some(Timestamp(2)), "until it is carried");
        collector.take();
        assert_eq!(collector.oldest(), None);
    }

    #[test]
    fn transactions_that_touch_one_row_fill_a_load_too() {
        let mut collector = collector(3, Position::default());
        for xid in 0..3 {
            assert!(!collector.is_full());
            transaction(&mut collector, xid, &[1], u64::from(xid) + 1);
        }
        assert!(collector.is_full());
        assert_eq!(collector.take().changes.rows(), 1);
        assert!(!collector.is_full());
    }

    #[test]
    fn a_marker_makes_a_load_of_its_own() {
        let mut collector = collector(2, Position::default());
        collector.mark(id(9), at(30));
        assert!(collector.is_ready());
        let load = collector.take();
        assert_eq!((load.changes.rows(), load.markers), (0, vec![(id(9), Lsn(30))]));
        assert_eq!(collector.oldest(), None);
    }

    #[test]
    fn no_load_ends_before_the_one_before_it_or_before_the_streams_start() {
        let mut collector = collector(10, at(100));
        collector.advance(at(40));
        assert!(!collector.is_ready(), "the server decodes old WAL again");
        transaction(&mut collector, 1, &[1], 120);
        collector.take();
        collector.advance(at(110));
        assert!(!collector.is_ready());
        begin(&mut collector, 2, 2);
        assert!(collector.commit(at(119)).is_err(), "it was carried");
    }
}
