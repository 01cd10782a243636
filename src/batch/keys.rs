//! Keys of changed rows, as a batch of reverse replication holds them; pure.
//!
//! A row is carried as Traffic has the row when the row is read. So a key that was touched a thousand times
//! is carried once, and carrying a key again after a crash does no harm. Only the changes of keys are carried in
//! their order, because a row keeps its identity under another key.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Batch, Changes, KeyChange};
use crate::model::change::{Change, Origin, RowKey, SourcedChange, Table};
use crate::model::lsn::Lsn;

/// Keys by table, in the order in which tables are written.
pub type Keys = BTreeMap<Table, BTreeSet<Uuid>>;

/// The keys to carry in one step.
pub type Load = Batch<TouchedKeys>;

/// Keys touched by transactions on Traffic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TouchedKeys {
    pub keys: Keys,
    /// Keys among `keys` whose row the stream has deleted, unless another row has taken the key since. In the
    /// retry at a start: the keys of the quarantined rows that Landing refused to delete.
    pub deleted: Keys,
    /// Keys whose row the stream has deleted before another row took or left the key.
    pub replaced: Keys,
    /// Changes of keys, in the order of the stream.
    pub key_changes: Vec<KeyChange>,
    /// Tables that were emptied by a TRUNCATE. A row of `keys` may have been written before or after the
    /// TRUNCATE.
    pub truncated: BTreeSet<Table>,
    /// Transactions that must be visible on Traffic before the rows are read.
    pub xids: Vec<u32>,
    /// Commit record of the last of these transactions.
    pub last_commit: Lsn,
}

impl TouchedKeys {
    /// Adds the key of a row that no longer exists.
    fn delete(&mut self, (table, id): RowKey) {
        self.keys.entry(table).or_default().insert(id);
        self.deleted.entry(table).or_default().insert(id);
    }

    /// Adds the change of a key. The key that the row has left is forgotten: if another row has the key by the
    /// time the rows are read, a later transaction brings that row.
    fn change_key(&mut self, change: KeyChange) {
        let KeyChange { table, old, new } = change;
        remove(&mut self.keys, (table, old));
        for key in [old, new] {
            if remove(&mut self.deleted, (table, key)) {
                self.replaced.entry(table).or_default().insert(key);
            }
        }
        self.keys.entry(table).or_default().insert(new);
        self.key_changes.push(change);
    }

    /// Empties tables. A row whose key changed before no longer exists.
    fn truncate(&mut self, tables: BTreeSet<Table>) {
        self.key_changes.retain(|change| !tables.contains(&change.table));
        self.truncated.extend(tables);
    }

    /// The keys that rows have left or taken.
    pub fn changed_keys(&self) -> Keys {
        let mut changed = Keys::new();
        for KeyChange { table, old, new } in &self.key_changes {
            changed.entry(*table).or_default().extend([*old, *new]);
        }
        changed
    }
}

impl Changes for TouchedKeys {
    type Row = RowKey;

    fn begin(&mut self, origin: Origin) {
        self.xids.extend(origin.xid);
        self.last_commit = self.last_commit.max(origin.commit_lsn);
    }

    fn add(&mut self, change: SourcedChange<RowKey>) {
        match change.change {
            Change::Write { row: (table, new), old_id, .. } => {
                if let Some(old) = old_id {
                    self.change_key(KeyChange { table, old, new });
                }
                self.keys.entry(table).or_default().insert(new);
            }
            Change::Delete { table, id } => self.delete((table, id)),
            Change::Truncate { tables } => self.truncate(tables.into_iter().collect()),
        }
    }

    fn absorb(&mut self, later: &mut Self) {
        let later = std::mem::take(later);
        self.truncate(later.truncated);
        later.key_changes.into_iter().for_each(|change| self.change_key(change));
        absorb(&mut self.keys, later.keys);
        absorb(&mut self.deleted, later.deleted);
        absorb(&mut self.replaced, later.replaced);
        self.xids.extend(later.xids);
        self.last_commit = self.last_commit.max(later.last_commit);
    }

    fn rows(&self) -> usize {
        self.keys.values().map(BTreeSet::len).sum::<usize>() + self.key_changes.len()
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

/// Returns whether the key was there.
fn remove(keys: &mut Keys, (table, id): RowKey) -> bool {
    keys.get_mut(&table).is_some_and(|ids| ids.remove(&id))
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

    #[test]
    fn a_key_that_a_row_has_left_is_not_carried_and_the_changes_keep_their_order() {
        let mut collector = collector(20, Position::default());
        let move_key = |collector: &mut KeyCollector, origin, (old, new): (u128, u128)| {
            let row = (LEADS, id(new));
            let change = Change::Write { operation: Operation::Update, row, old_id: Some(id(old)) };
            collector.push(SourcedChange { origin, change });
        };
        transaction(&mut collector, 1, &[1], 10);
        let origin = begin(&mut collector, 2, 1);
        collector.push(SourcedChange { origin, change: Change::Delete { table: LEADS, id: id(3) } });
        move_key(&mut collector, origin, (1, 2));
        move_key(&mut collector, origin, (2, 3));
        collector.commit(at(20)).unwrap();
        transaction(&mut collector, 3, &[2], 30);
        let changes = collector.take().changes;
        assert_eq!(changes.keys.get(&LEADS), Some(&BTreeSet::from([id(2), id(3)])));
        assert_eq!(changes.deleted.get(&LEADS), Some(&BTreeSet::new()), "3 was deleted, and taken again");
        assert_eq!(changes.replaced.get(&LEADS), Some(&BTreeSet::from([id(3)])));
        let order: Vec<_> = changes.key_changes.iter().map(|change| (change.old, change.new)).collect();
        assert_eq!(order, [(id(1), id(2)), (id(2), id(3))]);
    }

    #[test]
    fn a_row_that_a_truncate_removed_has_no_key_to_change() {
        let origin = Origin { xid: Some(1), commit_lsn: Lsn(1), commit_time: Timestamp(1) };
        let mut changes = TouchedKeys::default();
        let change = Change::Write { operation: Operation::Update, row: (LEADS, id(2)), old_id: Some(id(1)) };
        changes.add(SourcedChange { origin, change });
        let mut later = TouchedKeys::default();
        later.add(SourcedChange { origin, change: Change::Truncate { tables: vec![LEADS] } });
        changes.absorb(&mut later);
        assert_eq!(changes.key_changes, []);
    }
}
