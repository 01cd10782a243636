//! Batches and plans by examples.

use super::*;
use crate::model::change::{Datum, lead};
use crate::model::timestamp::Timestamp;

const ORIGIN: Origin = Origin { xid: Some(1), commit_lsn: Lsn(1), commit_time: Timestamp(0) };

fn row(table: Table, id: u128, first: Datum) -> Row {
    let mut values = vec![Datum::Null; table.columns().len()];
    values[1] = first;
    Row { table, id: Uuid::from_u128(id), values: values.into() }
}

fn write(table: Table, id: u128, first: Datum) -> SourcedChange {
    let row = row(table, id, first);
    SourcedChange {
        origin: ORIGIN,
        change: Change::Write { operation: Operation::Update, row, old_id: None },
    }
}

fn delete(table: Table, id: u128) -> SourcedChange {
    SourcedChange { origin: ORIGIN, change: Change::Delete { table, id: Uuid::from_u128(id) } }
}

fn segment<'s, 'c>(step: &'s PlanStep<'c>) -> &'s Segment<'c> {
    match step {
        PlanStep::Apply(segment) => segment,
        other => panic!("not a segment: {other:?}"),
    }
}

#[test]
fn writes_of_one_row_become_one_with_the_latest_values() {
    let changes = [
        write(Table::LandingLeads, 1, Datum::text("a")),
        write(Table::LandingLeads, 1, Datum::text("b")),
        write(Table::LandingLeads, 1, Datum::Unchanged),
    ];
    let steps = plan(&changes);
    assert_eq!(steps.len(), 1);
    let leads = &segment(&steps[0]).leads;
    assert_eq!(leads.len(), 1);
    assert_eq!(leads[0].row.values[1], Datum::text("b"));
}

#[test]
fn a_row_deleted_and_inserted_again_is_both_in_that_order() {
    let changes = [
        write(Table::LandingLeads, 1, Datum::Null),
        delete(Table::LandingLeads, 1),
        write(Table::LandingLeads, 1, Datum::Null),
    ];
    let steps = plan(&changes);
    assert_eq!(steps.len(), 2);
    assert_eq!(segment(&steps[0]).deleted_leads, [Uuid::from_u128(1)]);
    assert!(segment(&steps[0]).leads.is_empty());
    assert_eq!(segment(&steps[1]).leads.len(), 1);
}

#[test]
fn a_facebook_key_that_a_later_change_drops_is_written_before_it_is_left_alone() {
    let with = |metadata: Datum| {
        let mut change = write(Table::LandingLeads, 1, Datum::Null);
        if let Change::Write { row, .. } = &mut change.change {
            row.values[lead::METADATA] = metadata;
        }
        change
    };
    let [ad, other] = [r#"{"fb_ad_id": "7"}"#, r#"{"n": 1, "fb_ad_id": 8}"#].map(Datum::text);
    let dropped = [Datum::text("{}"), Datum::text(r#"{"fb_ad_id": null}"#), Datum::Null];
    for later in dropped {
        let changes = [with(ad.clone()), with(other.clone()), with(Datum::Unchanged), with(later)];
        let steps = plan(&changes);
        assert_eq!(steps.len(), 2);
        assert_eq!(segment(&steps[0]).leads[0].row.values[lead::METADATA], other);
    }
    let changes = [with(Datum::text("{}")), with(ad.clone()), with(other), with(ad), with(Datum::Unchanged)];
    assert_eq!(plan(&changes).len(), 1, "nothing is dropped: one write is enough");
}

#[test]
fn a_row_is_new_when_it_was_inserted_in_this_batch_and_nothing_of_it_was_written_before() {
    let inserted = |metadata: &str| {
        let mut change = write(Table::LandingLeads, 1, Datum::Null);
        if let Change::Write { operation, row, .. } = &mut change.change {
            (*operation, row.values[lead::METADATA]) = (Operation::Insert, Datum::text(metadata));
        }
        change
    };
    let new = |changes: &[SourcedChange]| -> Vec<Vec<bool>> {
        let steps = plan(changes);
        steps.iter().map(|step| segment(step).leads.iter().map(|write| write.new).collect()).collect()
    };
    let updated = |id| write(Table::LandingLeads, id, Datum::text("b"));
    assert_eq!(new(&[inserted("{}"), updated(1), updated(2)]), [vec![true, false]]);
    assert_eq!(new(&[updated(1), delete(Table::LandingLeads, 1), inserted("{}")]), [vec![], vec![true]]);
    // The first version of the row is written before the second version, because the second leaves out values
    // that Traffic keeps.
    assert_eq!(new(&[inserted(r#"{"fb_ad_id": "7"}"#), updated(1)]), [vec![true], vec![false]]);
}

#[test]
fn a_changed_key_stands_between_what_was_before_and_after_it() {
    let mut renamed = write(Table::LandingLeads, 2, Datum::Null);
    if let Change::Write { old_id, .. } = &mut renamed.change {
        *old_id = Some(Uuid::from_u128(1));
    }
    let changes = [write(Table::LandingLeads, 1, Datum::Null), renamed];
    let steps = plan(&changes);
    assert_eq!(steps.len(), 3);
    assert!(matches!(steps[1], PlanStep::ChangeKey(KeyChange { old, new, .. })
        if old == Uuid::from_u128(1) && new == Uuid::from_u128(2)));
    assert_eq!(segment(&steps[2]).leads[0].row.id, Uuid::from_u128(2));
}

#[test]
fn rows_are_written_in_key_order() {
    let ids = [5, 2, 9, 1];
    let changes: Vec<_> = ids.iter().map(|id| write(Table::LeadJourney, *id, Datum::Null)).collect();
    let steps = plan(&changes);
    let written: Vec<_> = segment(&steps[0]).children.iter().map(|write| write.row.id.as_u128()).collect();
    assert_eq!(written, [1, 2, 5, 9]);
}

fn position(lsn: u64) -> Position {
    Position { lsn: Lsn(lsn), commit_time: Some(Timestamp(lsn as i64)), caught_up_at: Timestamp(lsn as i64) }
}

#[test]
fn a_batch_is_ready_only_between_transactions() {
    let mut builder = BatchBuilder::new(BatchLimits { rows: 2, bytes: 1 << 20 }, Position::default());
    assert!(!builder.is_ready());
    builder.push(delete(Table::LandingLeads, 1));
    builder.advance(Position { commit_time: None, ..position(5) });
    assert!(!builder.is_ready(), "a keepalive inside a transaction moves nothing");
    builder.commit(position(10)).unwrap();
    assert!(builder.is_ready() && !builder.is_full());
    builder.push(delete(Table::LandingLeads, 2));
    assert!(builder.is_full() && builder.is_ready());
    let whole = builder.take();
    assert_eq!((whole.changes.len(), whole.end.unwrap().lsn), (1, Lsn(10)));
    builder.push(delete(Table::LandingLeads, 3));
    assert!(builder.is_full() && !builder.is_ready());
    let part = builder.take();
    assert_eq!((part.changes.len(), part.end), (2, None), "a part of a transaction has no position");
}

#[test]
fn a_keepalive_moves_the_end_ahead_and_never_back() {
    let mut builder = BatchBuilder::new(BatchLimits { rows: 10, bytes: 1 << 20 }, Position::default());
    builder.push(delete(Table::LandingLeads, 1));
    builder.commit(position(10)).unwrap();
    builder.advance(Position { commit_time: None, ..position(9) });
    builder.advance(Position { commit_time: None, ..position(20) });
    let end = builder.take().end.unwrap();
    assert_eq!((end.lsn, end.commit_time), (Lsn(20), Some(Timestamp(10))));
}

#[test]
fn a_batch_is_full_by_size_as_well_as_by_number() {
    let mut builder = BatchBuilder::new(BatchLimits { rows: 1000, bytes: 10_000 }, Position::default());
    builder.push(write(Table::LandingLeads, 1, Datum::text("x".repeat(10_000))));
    assert!(builder.is_full());
}

#[test]
fn no_batch_ends_before_the_one_before_it_or_before_the_streams_start() {
    let mut builder = BatchBuilder::new(BatchLimits { rows: 10, bytes: 1 << 20 }, position(100));
    let keepalive = |lsn| Position { commit_time: None, ..position(lsn) };
    builder.advance(keepalive(40));
    assert!(!builder.is_ready(), "the server decodes old WAL again");
    builder.advance(keepalive(100));
    assert_eq!(builder.take().end.map(|end| end.lsn), Some(Lsn(100)));
    builder.push(delete(Table::LandingLeads, 1));
    builder.commit(position(120)).unwrap();
    builder.take();
    builder.advance(keepalive(110));
    assert!(!builder.is_ready());
    builder.push(delete(Table::LandingLeads, 2));
    assert!(builder.commit(position(119)).is_err(), "it was applied");
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
