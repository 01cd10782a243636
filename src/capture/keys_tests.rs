//! Tests with events as the transport frames them, and with messages as `pgoutput` sends them.

use super::*;
use crate::capture::framing::{Captured, MARKER_PREFIX};
use crate::model::change::{Change, Operation, Origin, Position};
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;
use crate::pgoutput::{Message, RelationColumn, ReplicationEvent};

const OLD: Uuid = Uuid::from_u128(1);
const NEW: Uuid = Uuid::from_u128(2);

fn capture() -> KeyCapture {
    Capture::new(TrafficTables { schema: "public".into(), tables: Table::replicated(false) })
}

/// A relation with `id` as the second column.
fn relation(id: u32, name: &str, identity: ReplicaIdentity) -> Message {
    let column = |name: &str, key| RelationColumn { key, name: name.into(), type_oid: 25 };
    Message::Relation(Relation {
        id,
        namespace: "public".into(),
        name: name.into(),
        replica_identity: identity,
        columns: vec![column("name", false), column("id", true)],
    })
}

fn tuple(id: Uuid) -> Tuple {
    Tuple(vec![Value::Null, Value::Text(id.to_string().into())])
}

#[test]
fn every_kind_of_change_gives_its_keys() {
    let mut capture = capture();
    let leads = Table::LandingLeads;
    assert_eq!(capture.change(relation(7, "traffic_leads", ReplicaIdentity::Default)).unwrap(), None);
    let row = |operation, id, old_id| Some(Change::Write { operation, row: (leads, id), old_id });
    let (inserted, updated) = (Operation::Insert, Operation::Update);
    let insert = Message::Insert { relation: 7, new: tuple(NEW) };
    assert_eq!(capture.change(insert).unwrap(), row(inserted, NEW, None));
    let update = |old: Option<OldTuple>| Message::Update { relation: 7, old, new: tuple(NEW) };
    assert_eq!(capture.change(update(None)).unwrap(), row(updated, NEW, None));
    assert_eq!(
        capture.change(update(Some(OldTuple::Key(tuple(OLD))))).unwrap(),
        row(updated, NEW, Some(OLD))
    );
    // With replica identity full the old row is sent with every update.
    assert_eq!(capture.change(update(Some(OldTuple::Full(tuple(NEW))))).unwrap(), row(updated, NEW, None));
    let delete = Message::Delete { relation: 7, old: OldTuple::Key(tuple(OLD)) };
    assert_eq!(capture.change(delete).unwrap(), Some(Change::Delete { table: leads, id: OLD }));
    let truncate = Message::Truncate { relations: vec![7] };
    assert_eq!(capture.change(truncate).unwrap(), Some(Change::Truncate { tables: vec![leads] }));
}

#[test]
fn tables_that_are_not_carried_say_nothing() {
    let mut capture = capture();
    for (id, name) in [(8, "traffic_scheduled_notifications"), (9, "traffic_sales")] {
        capture.change(relation(id, name, ReplicaIdentity::Default)).unwrap();
        assert_eq!(capture.change(Message::Insert { relation: id, new: tuple(NEW) }).unwrap(), None);
        assert_eq!(capture.change(Message::Truncate { relations: vec![id] }).unwrap(), None);
    }
}

#[test]
fn what_does_not_name_its_row_is_refused() {
    let mut capture = capture();
    let error = capture.change(relation(7, "traffic_leads", ReplicaIdentity::Nothing)).unwrap_err();
    assert!(error.to_string().contains("traffic_leads") && error.remedy_text().is_some(), "{error}");
    assert!(capture.change(Message::Insert { relation: 1, new: tuple(NEW) }).is_err());
    capture.change(relation(7, "traffic_leads", ReplicaIdentity::Default)).unwrap();
    for broken in [Tuple(vec![Value::Null]), Tuple(vec![Value::Null, Value::Text("x".into())])] {
        assert!(capture.change(Message::Insert { relation: 7, new: broken }).is_err());
    }
}

#[test]
fn a_keepalive_counts_between_transactions_only() {
    let mut capture = capture();
    let keepalive =
        || ReplicationEvent::KeepAlive { wal_end: Lsn(50), reply_requested: false, server_time_micros: 9 };
    let idle = Position { lsn: Lsn(50), commit_time: None, caught_up_at: Timestamp(9) };
    assert_eq!(capture.event(keepalive()).unwrap(), Some(Captured::Idle(idle)));
    let begin = ReplicationEvent::Begin { final_lsn: Lsn(60), xid: 5, commit_time_micros: 8 };
    let begun = Origin { xid: Some(5), commit_lsn: Lsn(60), commit_time: Timestamp(8) };
    assert_eq!(capture.event(begin).unwrap(), Some(Captured::Begin(begun)));
    assert_eq!(capture.event(keepalive()).unwrap(), None);
}

#[test]
fn a_marker_is_a_uuid_under_our_prefix() {
    let mut capture = capture();
    let message = |prefix: &str, content: &str| ReplicationEvent::Message {
        transactional: false,
        lsn: Lsn(70),
        prefix: prefix.into(),
        content: content.to_owned().into(),
    };
    let at = Position { lsn: Lsn(70), commit_time: None, caught_up_at: Timestamp(0) };
    let marked = capture.event(message(MARKER_PREFIX, &NEW.to_string())).unwrap();
    assert_eq!(marked, Some(Captured::Marker { id: NEW, at }));
    assert_eq!(capture.event(message(MARKER_PREFIX, "x")).unwrap(), None);
    assert_eq!(capture.event(message("other", &NEW.to_string())).unwrap(), None);
}
