//! Tests the decoder with the tests' own encoder, written after PostgreSQL's "Logical Replication Message
//! Formats".

use bytes::{BufMut, Bytes};
use proptest::prelude::*;

use super::*;

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
}

fn put_tuple(bytes: &mut Vec<u8>, tuple: &Tuple) {
    bytes.put_i16(tuple.0.len() as i16);
    for value in &tuple.0 {
        match value {
            Value::Null => bytes.push(b'n'),
            Value::Unchanged => bytes.push(b'u'),
            Value::Text(text) => {
                bytes.push(b't');
                bytes.put_i32(text.len() as i32);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
}

fn put_old(bytes: &mut Vec<u8>, old: &OldTuple) {
    bytes.push(match old {
        OldTuple::Key(_) => b'K',
        OldTuple::Full(_) => b'O',
    });
    put_tuple(bytes, old.tuple());
}

fn put_relation(bytes: &mut Vec<u8>, relation: &Relation) {
    bytes.push(b'R');
    bytes.put_u32(relation.id);
    put_name(bytes, &relation.namespace);
    put_name(bytes, &relation.name);
    bytes.push(match relation.replica_identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    bytes.put_i16(relation.columns.len() as i16);
    for column in &relation.columns {
        bytes.push(u8::from(column.key));
        put_name(bytes, &column.name);
        bytes.put_u32(column.type_oid);
        bytes.put_i32(-1);
    }
}

fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    match message {
        Message::Relation(relation) => put_relation(&mut bytes, relation),
        Message::Insert { relation, new } => {
            bytes.push(b'I');
            bytes.put_u32(*relation);
            bytes.push(b'N');
            put_tuple(&mut bytes, new);
        }
        Message::Update { relation, old, new } => {
            bytes.push(b'U');
            bytes.put_u32(*relation);
            if let Some(old) = old {
                put_old(&mut bytes, old);
            }
            bytes.push(b'N');
            put_tuple(&mut bytes, new);
        }
        Message::Delete { relation, old } => {
            bytes.push(b'D');
            bytes.put_u32(*relation);
            put_old(&mut bytes, old);
        }
        Message::Truncate { relations } => {
            bytes.push(b'T');
            bytes.put_i32(relations.len() as i32);
            bytes.push(0);
            relations.iter().for_each(|relation| bytes.put_u32(*relation));
        }
        Message::Announcement => {
            bytes.push(b'Y');
            bytes.put_u32(25);
            put_name(&mut bytes, "public");
            put_name(&mut bytes, "funnel");
        }
    }
    bytes
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(Value::Unchanged),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ];
    prop::collection::vec(value, 0..8).prop_map(Tuple)
}

fn old() -> impl Strategy<Value = OldTuple> {
    prop_oneof![tuple().prop_map(OldTuple::Key), tuple().prop_map(OldTuple::Full)]
}

fn relation() -> impl Strategy<Value = Relation> {
    let name = || "[^\\x00]{0,8}".prop_map(ByteString::from);
    let identity = prop::sample::select(vec![
        ReplicaIdentity::Default,
        ReplicaIdentity::Nothing,
        ReplicaIdentity::Full,
        ReplicaIdentity::Index,
    ]);
    let column = (any::<bool>(), name(), any::<u32>()).prop_map(|(key, name, type_oid)| RelationColumn {
        key,
        name,
        type_oid,
    });
    (any::<u32>(), name(), name(), identity, prop::collection::vec(column, 0..6)).prop_map(
        |(id, namespace, name, replica_identity, columns)| Relation {
            id,
            namespace,
            name,
            replica_identity,
            columns,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        relation().prop_map(Message::Relation),
        (any::<u32>(), tuple()).prop_map(|(relation, new)| Message::Insert { relation, new }),
        (any::<u32>(), prop::option::of(old()), tuple()).prop_map(|(relation, old, new)| Message::Update {
            relation,
            old,
            new
        }),
        (any::<u32>(), old()).prop_map(|(relation, old)| Message::Delete { relation, old }),
        prop::collection::vec(any::<u32>(), 0..5).prop_map(|relations| Message::Truncate { relations }),
        Just(Message::Announcement),
    ]
}

proptest! {
    #[test]
    fn every_message_is_decoded_to_what_was_encoded(message in message()) {
        prop_assert_eq!(decode(encode(&message).into()), Ok(message));
    }

    #[test]
    fn no_message_is_taken_for_another_when_it_is_cut_or_has_bytes_left_over(
        message in message(), extra in prop::collection::vec(any::<u8>(), 1..9)
    ) {
        let whole = Bytes::from(encode(&message));
        for length in 0..whole.len() {
            prop_assert!(decode(whole.slice(..length)).is_err(), "{} bytes", length);
        }
        let longer: Vec<u8> = whole.iter().copied().chain(extra.iter().copied()).collect();
        prop_assert_eq!(decode(longer.into()), Err(DecodeError::Trailing(extra.len())));
    }

    #[test]
    fn a_message_with_bytes_flipped_is_another_message_or_an_error_and_never_a_panic(
        message in message(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = encode(&message);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(other) = decode(Bytes::from(bytes)) {
            // Whatever the decoder accepts, the decoder reads completely: encoding and decoding give the same
            // message.
            prop_assert_eq!(decode(encode(&other).into()), Ok(other));
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
        if let Ok(message) = decode(bytes.into()) {
            prop_assert_eq!(decode(encode(&message).into()), Ok(message));
        }
    }
}
