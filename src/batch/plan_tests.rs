//! Plans by examples.

use super::*;
use crate::model::change::{Datum, lead};
use crate::model::lsn::Lsn;
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
