//! Batches by examples.

use super::*;
use crate::model::change::{Datum, Operation, Table};

const ORIGIN: Origin = Origin { xid: Some(1), commit_lsn: Lsn(1), commit_time: Timestamp(0) };

fn delete(table: Table, id: u128) -> SourcedChange {
    SourcedChange { origin: ORIGIN, change: Change::Delete { table, id: Uuid::from_u128(id) } }
}

fn position(lsn: u64) -> Position {
    Position { lsn: Lsn(lsn), commit_time: Some(Timestamp(lsn as i64)), caught_up_at: Timestamp(lsn as i64) }
}

#[test]
fn a_batch_is_ready_only_between_transactions() {
    let mut collector =
        Collector::<Vec<SourcedChange>>::new(BatchLimits { rows: 2, bytes: 1 << 20 }, Position::default());
    assert!(!collector.is_ready());
    collector.push(delete(Table::LandingLeads, 1));
    collector.advance(Position { commit_time: None, ..position(5) });
    assert!(!collector.is_ready(), "a keepalive inside a transaction moves nothing");
    collector.commit(position(10)).unwrap();
    assert!(collector.is_ready() && !collector.is_full());
    collector.push(delete(Table::LandingLeads, 2));
    assert!(collector.is_full() && collector.is_ready());
    let whole = collector.take();
    assert_eq!((whole.changes.len(), whole.end.unwrap().lsn), (1, Lsn(10)));
    collector.push(delete(Table::LandingLeads, 3));
    assert!(collector.is_full() && !collector.is_ready());
    let part = collector.take();
    assert_eq!((part.changes.len(), part.end), (2, None), "a part of a transaction has no position");
}

#[test]
fn a_keepalive_moves_the_end_ahead_and_never_back() {
    let mut collector =
        Collector::<Vec<SourcedChange>>::new(BatchLimits { rows: 10, bytes: 1 << 20 }, Position::default());
    collector.push(delete(Table::LandingLeads, 1));
    collector.commit(position(10)).unwrap();
    collector.advance(Position { commit_time: None, ..position(9) });
    collector.advance(Position { commit_time: None, ..position(20) });
    let end = collector.take().end.unwrap();
    assert_eq!((end.lsn, end.commit_time), (Lsn(20), Some(Timestamp(10))));
}

#[test]
fn a_batch_is_full_by_size_as_well_as_by_number() {
    let mut collector =
        Collector::<Vec<SourcedChange>>::new(BatchLimits { rows: 1000, bytes: 10_000 }, Position::default());
    let values = [Datum::text("x".repeat(10_000))].into();
    let row = Row { table: Table::LandingLeads, id: Uuid::from_u128(1), values };
    let change = Change::Write { operation: Operation::Update, row, old_id: None };
    collector.push(SourcedChange { origin: ORIGIN, change });
    assert!(collector.is_full());
}

#[test]
fn no_batch_ends_before_the_one_before_it_or_before_the_streams_start() {
    let mut collector =
        Collector::<Vec<SourcedChange>>::new(BatchLimits { rows: 10, bytes: 1 << 20 }, position(100));
    let keepalive = |lsn| Position { commit_time: None, ..position(lsn) };
    collector.advance(keepalive(40));
    assert!(!collector.is_ready(), "the server decodes old WAL again");
    collector.advance(keepalive(100));
    assert_eq!(collector.take().end.map(|end| end.lsn), Some(Lsn(100)));
    collector.push(delete(Table::LandingLeads, 1));
    collector.commit(position(120)).unwrap();
    collector.take();
    collector.advance(keepalive(110));
    assert!(!collector.is_ready());
    collector.push(delete(Table::LandingLeads, 2));
    assert!(collector.commit(position(119)).is_err(), "it was applied");
}

#[test]
fn a_batch_is_cut_into_parts_that_hold_its_changes_in_their_order() {
    let of = |commits: &[u64]| {
        let change = |(id, commit): (usize, &u64)| {
            let mut change = delete(Table::LandingLeads, id as u128);
            change.origin.commit_lsn = Lsn(*commit);
            change
        };
        let changes = commits.iter().enumerate().map(change).collect();
        Batch { changes, end: Some(position(9)), ..Batch::default() }
    };
    let sizes = |batch: Batch, parts| {
        let (changes, end) = (batch.changes.clone(), batch.end);
        let cut = batch.cut(parts);
        assert_eq!(cut.iter().flat_map(|part| part.changes.clone()).collect::<Vec<_>>(), changes);
        assert_eq!(cut.last().unwrap().end, end);
        assert_eq!(cut.iter().filter(|part| part.end.is_some()).count(), 1);
        cut.iter().map(|part| part.changes.len()).collect::<Vec<_>>()
    };
    for (parts, expected) in
        [(1, vec![7]), (2, vec![3, 4]), (3, vec![2, 2, 3]), (7, vec![1; 7]), (100, vec![1; 7])]
    {
        assert_eq!(sizes(of(&[1; 7]), parts), expected, "one transaction");
    }
    assert_eq!(sizes(of(&[1, 1, 1, 1, 1, 2, 2, 2]), 2), [5, 3], "between the two");
    assert_eq!(sizes(of(&[1, 2, 2, 2, 2, 2, 2, 2]), 2), [4, 4], "too far away");
    assert_eq!(sizes(of(&[]), 2), [0]);
}

#[test]
fn a_few_megabytes_of_long_rows_fill_a_batch_whatever_its_bound() {
    let limits = BatchLimits { rows: 1000, bytes: usize::MAX };
    let mut collector = Collector::<Vec<SourcedChange>>::new(limits, Position::default());
    let row = |size: usize| {
        let values = [Datum::text("x".repeat(size))].into();
        let row = Row { table: Table::LandingLeads, id: Uuid::nil(), values };
        let change = Change::Write { operation: Operation::Insert, row, old_id: None };
        SourcedChange { origin: ORIGIN, change }
    };
    for _ in 0..100 {
        collector.push(row(LONG_ROW / 8));
    }
    assert!(!collector.is_full(), "rows of other sizes are bounded by the configured bound alone");
    collector.push(row(LONG_ROWS / 2));
    collector.commit(position(10)).unwrap();
    assert!(!collector.is_full());
    collector.push(row(LONG_ROWS / 2));
    assert!(collector.is_full());
    collector.take();
    assert!(!collector.is_full(), "the open transaction has only its own rows left");
}
