//! Any sequence of stream events is changes or an error, and no change stands outside a transaction.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use leadbridge::capture::framing::Captured;
use leadbridge::capture::rows::{LandingTables, RowCapture};
use leadbridge::checkpoint::Published;
use leadbridge::model::change::Table;
use leadbridge::model::lsn::Lsn;
use leadbridge::model::names::Names;
use leadbridge::pgoutput::ReplicationEvent;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Event {
    Begin(u64, i64),
    Commit(u64, i64),
    KeepAlive(u64, i64),
    Relation { id: u8, table: u8, columns: Vec<(u8, u8)> },
    Row { tag: u8, relation: u8, values: Vec<Option<String>> },
    Bytes(Vec<u8>),
}

fn relation(id: u8, table: u8, columns: &[(u8, u8)]) -> Vec<u8> {
    let table = Table::ALL[usize::from(table) % Table::ALL.len()];
    let mut bytes = vec![b'R', 0, 0, 0, id % 4];
    bytes.extend(format!("public\0{}\0d", table.label()).as_bytes());
    let known = table.columns();
    // All columns of the table, as they should be, and then as the input would have them.
    bytes.extend((known.len() as i16).to_be_bytes());
    for (at, column) in known.iter().enumerate() {
        let (flag, kind) = columns.get(at).copied().unwrap_or((0, 0));
        bytes.push(u8::from(at == 0 || flag == 1));
        bytes.extend(column.name.as_bytes());
        bytes.push(0);
        let oid = if kind == 255 { 23 } else { column.kind.accepted()[0].0 };
        bytes.extend(oid.to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes());
    }
    bytes
}

fn row(tag: u8, relation: u8, values: &[Option<String>]) -> Vec<u8> {
    let tag = b"IUD"[usize::from(tag) % 3];
    let mut bytes = vec![tag, 0, 0, 0, relation % 4, if tag == b'D' { b'K' } else { b'N' }];
    let id = Some("00000000-0000-4000-8000-000000000001".to_owned());
    bytes.extend((values.len() as i16 + 1).to_be_bytes());
    for value in [&id].into_iter().chain(values) {
        match value {
            None => bytes.push(b'u'),
            Some(text) => {
                bytes.push(b't');
                bytes.extend((text.len() as i32).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

fn event(event: Event) -> ReplicationEvent {
    let data = |bytes: Vec<u8>| ReplicationEvent::XLogData { data: Bytes::from(bytes) };
    match event {
        Event::Begin(lsn, time) => {
            ReplicationEvent::Begin { final_lsn: Lsn(lsn), xid: 1, commit_time_micros: time }
        }
        Event::Commit(lsn, time) => ReplicationEvent::Commit {
            end_lsn: Lsn(lsn),
            commit_time_micros: time,
        },
        Event::KeepAlive(lsn, time) => ReplicationEvent::KeepAlive {
            wal_end: Lsn(lsn),
            reply_requested: false,
            server_time_micros: time,
        },
        Event::Relation { id, table, columns } => data(relation(id, table, &columns)),
        Event::Row { tag, relation, values } => data(row(tag, relation, &values)),
        Event::Bytes(bytes) => data(bytes),
    }
}

fuzz_target!(|events: Vec<Event>| {
    let tables = LandingTables::new(Names::default(), Table::ALL.to_vec(), Published::default());
    let mut capture = RowCapture::new(tables);
    let mut open = false;
    for one in events {
        let (begins, ends) = (matches!(one, Event::Begin(..)), matches!(one, Event::Commit(..)));
        let Ok(captured) = capture.event(event(one)) else { return };
        open = (open || begins) && !ends;
        match captured {
            Some(Captured::Change(_)) => assert!(open, "a change outside a transaction"),
            Some(Captured::Idle(_)) => assert!(!open, "idle inside a transaction"),
            Some(Captured::Begin(_) | Captured::Commit(_) | Captured::Marker { .. }) | None => {}
        }
    }
});
