//! Loads: the keys of whole transactions to be carried together, up to a limit; pure.
//!
//! A row is carried as Traffic has the row when the row is read. So a key that was touched a thousand times
//! is carried once, and carrying a key again after a crash does no harm.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::batch::sent_again;
use crate::error::Result;
use crate::model::change::{Position, Table};
use crate::model::lsn::Lsn;
use crate::model::reached::Reached;
use crate::model::timestamp::Timestamp;

/// Keys by table, in the order in which tables are written.
pub type Keys = BTreeMap<Table, BTreeSet<Uuid>>;

/// The keys to carry in one step.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub keys: Keys,
    /// Keys among `keys` that the stream has deleted. In the retry at a start: all keys, because a
    /// quarantined row may be a delete that Landing refused.
    pub deleted: Keys,
    /// Tables that were emptied by a TRUNCATE. A row of `keys` may have been written before or after the
    /// TRUNCATE.
    pub truncated: BTreeSet<Table>,
    /// Transactions that must be visible on Traffic before the rows are read.
    pub xids: Vec<u32>,
    /// End of the last whole transaction. `None` for a part of a transaction that is larger than a load: then
    /// the transaction on Landing stays open until the load with the end.
    pub end: Option<Position>,
    pub transactions: u64,
    /// Markers among the load's transactions, each with the marker's position.
    pub markers: Vec<(Uuid, Lsn)>,
    /// Commit time of the load's first transaction.
    pub oldest: Option<Timestamp>,
}

impl Load {
    /// Number of rows to look at.
    pub fn rows(&self) -> usize {
        self.keys.values().map(BTreeSet::len).sum()
    }
}

/// Collects keys until a load is full, or until the caller takes the load after a commit.
#[derive(Debug)]
pub struct Loader {
    limit: usize,
    /// End of the last load, or start of the stream; then end of the current load.
    reached: Reached,
    /// Whole transactions.
    whole: Load,
    /// The transaction in progress.
    open: Load,
}

impl Loader {
    /// A loader for loads of `limit` rows. Everything before `from` has been carried.
    pub fn new(limit: usize, from: Position) -> Self {
        Loader { limit, reached: Reached::new(from), whole: Load::default(), open: Load::default() }
    }

    pub fn begin(&mut self, xid: u32, committed: Timestamp) {
        self.open = Load { xids: vec![xid], oldest: Some(committed), ..Load::default() };
    }

    pub fn touch(&mut self, table: Table, ids: impl IntoIterator<Item = Uuid>) {
        self.open.keys.entry(table).or_default().extend(ids);
    }

    /// Adds the key of a row that no longer exists under this key.
    pub fn delete(&mut self, table: Table, id: Uuid) {
        self.touch(table, [id]);
        self.open.deleted.entry(table).or_default().insert(id);
    }

    pub fn truncate(&mut self, tables: Vec<Table>) {
        self.open.truncated.extend(tables);
    }

    /// Ends the transaction in progress.
    ///
    /// # Errors
    /// Internal for a transaction that ends before a position reached already: the transaction has been
    /// carried.
    pub fn commit(&mut self, end: Position) -> Result<()> {
        if !self.reached.advance(end) {
            return Err(sent_again(end.lsn, self.reached.lsn()));
        }
        let open = std::mem::take(&mut self.open);
        self.whole.end = Some(self.reached.position());
        self.whole.transactions += 1;
        // A transaction whose keys were all taken in parts adds only an end.
        self.whole.oldest = self.whole.oldest.or(open.oldest);
        add(&mut self.whole.keys, open.keys);
        add(&mut self.whole.deleted, open.deleted);
        self.whole.truncated.extend(open.truncated);
        self.whole.xids.extend(open.xids);
        Ok(())
    }

    pub fn mark(&mut self, id: Uuid, at: Position) {
        self.advance(at);
        self.whole.markers.push((id, at.lsn));
    }

    /// Moves the end of the load to a position up to which nothing is in flight. Ignored inside a
    /// transaction, and for a position that lies before the last one.
    pub fn advance(&mut self, to: Position) {
        if self.open.xids.is_empty() && self.reached.advance(to) {
            self.whole.end = Some(self.reached.position());
        }
    }

    /// Whether the load has reached the limit, in rows or in transactions. Transactions count, because many
    /// transactions may touch the same few rows.
    pub fn is_full(&self) -> bool {
        self.whole.rows() + self.open.rows() >= self.limit || self.whole.xids.len() >= self.limit
    }

    /// Whether there is an end to record: of a whole transaction, a marker or an idle position.
    pub fn is_ready(&self) -> bool {
        self.whole.end.is_some()
    }

    /// Takes the whole transactions. If there are none, takes a part of the transaction in progress.
    pub fn take(&mut self) -> Load {
        if self.is_ready() {
            return std::mem::take(&mut self.whole);
        }
        let (xids, oldest) = (self.open.xids.clone(), self.open.oldest);
        let part = std::mem::take(&mut self.open);
        // The transaction continues: the rest has the same xid to wait for, and the same age.
        (self.open.xids, self.open.oldest) = (xids, oldest);
        part
    }

    /// Commit time of the oldest transaction that was not taken, including a transaction that has only begun.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.whole.oldest.or(self.open.oldest)
    }
}

fn add(keys: &mut Keys, more: Keys) {
    for (table, ids) in more {
        keys.entry(table).or_default().extend(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADS: Table = Table::LandingLeads;

    fn at(lsn: u64) -> Position {
        Position { lsn: Lsn(lsn), commit_time: Some(Timestamp(1)), caught_up_at: Timestamp(1) }
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn transaction(loader: &mut Loader, xid: u32, ids: &[u128], end: u64) {
        loader.begin(xid, Timestamp(1));
        loader.touch(LEADS, ids.iter().map(|n| id(*n)));
        loader.commit(at(end)).unwrap();
    }

    #[test]
    fn a_key_that_many_transactions_touch_is_carried_once() {
        let mut loader = Loader::new(10, Position::default());
        transaction(&mut loader, 1, &[1, 2], 10);
        transaction(&mut loader, 2, &[2], 20);
        let load = loader.take();
        assert_eq!((load.rows(), load.transactions, load.end.map(|end| end.lsn)), (2, 2, Some(Lsn(20))));
        assert_eq!(load.xids, [1, 2]);
        assert!(!loader.is_ready());
    }

    #[test]
    fn only_whole_transactions_are_taken_while_there_are_any() {
        let mut loader = Loader::new(3, Position::default());
        transaction(&mut loader, 1, &[1], 10);
        loader.begin(2, Timestamp(2));
        loader.touch(LEADS, [id(2), id(3)]);
        assert!(loader.is_full());
        let load = loader.take();
        assert_eq!((load.rows(), load.end.map(|end| end.lsn)), (1, Some(Lsn(10))));
        assert_eq!(loader.oldest(), Some(Timestamp(2)));
        loader.commit(at(20)).unwrap();
        assert_eq!(loader.take().keys.get(&LEADS).map(BTreeSet::len), Some(2));
    }

    #[test]
    fn a_transaction_larger_than_a_load_is_taken_in_parts_and_ends_with_the_last() {
        let mut loader = Loader::new(2, Position::default());
        loader.begin(7, Timestamp(3));
        loader.touch(LEADS, [id(1), id(2)]);
        assert!(loader.is_full() && !loader.is_ready());
        let part = loader.take();
        assert_eq!((part.rows(), part.end, part.xids), (2, None, vec![7]));
        // A position inside a transaction is ignored.
        loader.advance(at(5));
        assert!(!loader.is_ready());
        loader.commit(at(20)).unwrap();
        let rest = loader.take();
        assert_eq!((rest.rows(), rest.end.map(|end| end.lsn), rest.transactions), (0, Some(Lsn(20)), 1));
    }

    #[test]
    fn a_transaction_that_has_only_begun_is_under_way() {
        let mut loader = Loader::new(10, Position::default());
        transaction(&mut loader, 1, &[1], 10);
        loader.begin(2, Timestamp(2));
        loader.take();
        assert_eq!(loader.oldest(), Some(Timestamp(2)));
        loader.commit(at(20)).unwrap();
        assert_eq!(loader.oldest(), Some(Timestamp(2)), "until it is carried");
        loader.take();
        assert_eq!(loader.oldest(), None);
    }

    #[test]
    fn transactions_that_touch_one_row_fill_a_load_too() {
        let mut loader = Loader::new(3, Position::default());
        for xid in 0..3 {
            assert!(!loader.is_full());
            transaction(&mut loader, xid, &[1], u64::from(xid) + 1);
        }
        assert!(loader.is_full());
        assert_eq!(loader.take().rows(), 1);
        assert!(!loader.is_full());
    }

    #[test]
    fn a_marker_makes_a_load_of_its_own() {
        let mut loader = Loader::new(2, Position::default());
        loader.mark(id(9), at(30));
        assert!(loader.is_ready());
        let load = loader.take();
        assert_eq!((load.rows(), load.markers), (0, vec![(id(9), Lsn(30))]));
        assert_eq!(loader.oldest(), None);
    }

    #[test]
    fn no_load_ends_before_the_one_before_it_or_before_the_streams_start() {
        let mut loader = Loader::new(10, at(100));
        loader.advance(at(40));
        assert!(!loader.is_ready(), "the server decodes old WAL again");
        transaction(&mut loader, 1, &[1], 120);
        loader.take();
        loader.advance(at(110));
        assert!(!loader.is_ready());
        loader.begin(2, Timestamp(2));
        assert!(loader.commit(at(119)).is_err(), "it was carried");
    }
}
