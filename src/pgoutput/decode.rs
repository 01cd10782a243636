//! The message formats, a function for each.

use bytes::Bytes;

use super::reader::{ByteReader, DecodeError};
use super::{Message, OldTuple, Relation, RelationColumn, ReplicaIdentity, Tuple, Value};

type Result<T> = std::result::Result<T, DecodeError>;

/// Decodes a message. The texts of the result share the message's buffer.
///
/// # Errors
/// Truncated, left-over or unknown bytes; text that is not UTF-8.
pub fn decode(message: Bytes) -> Result<Message> {
    let mut reader = ByteReader::new(message);
    let decoded = match reader.u8("message tag")? {
        b'R' => Message::Relation(relation(&mut reader)?),
        b'I' => insert(&mut reader)?,
        b'U' => update(&mut reader)?,
        b'D' => delete(&mut reader)?,
        b'T' => truncate(&mut reader)?,
        b'Y' => data_type(&mut reader)?,
        b'O' => origin(&mut reader)?,
        tag => return Err(DecodeError::Unknown("message tag", tag)),
    };
    reader.end()?;
    Ok(decoded)
}

fn relation(reader: &mut ByteReader) -> Result<Relation> {
    let id = reader.u32("relation id")?;
    let namespace = reader.name("relation namespace")?;
    let name = reader.name("relation name")?;
    let replica_identity = match reader.u8("replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        byte => return Err(DecodeError::Unknown("replica identity", byte)),
    };
    let count = reader.count16("column count")?;
    let mut columns = Vec::with_capacity(reader.capacity(count));
    for _ in 0..count {
        columns.push(relation_column(reader)?);
    }
    Ok(Relation { id, namespace, name, replica_identity, columns })
}

fn relation_column(reader: &mut ByteReader) -> Result<RelationColumn> {
    let key = match reader.u8("column flags")? {
        0 => false,
        1 => true,
        flags => return Err(DecodeError::Unknown("column flags", flags)),
    };
    let name = reader.name("column name")?;
    let type_oid = reader.u32("column type")?;
    reader.u32("column type modifier")?;
    Ok(RelationColumn { key, name, type_oid })
}

fn insert(reader: &mut ByteReader) -> Result<Message> {
    let relation = reader.u32("relation id")?;
    match reader.u8("tuple kind")? {
        b'N' => Ok(Message::Insert { relation, new: tuple(reader)? }),
        kind => Err(DecodeError::Unknown("tuple kind", kind)),
    }
}

fn update(reader: &mut ByteReader) -> Result<Message> {
    let relation = reader.u32("relation id")?;
    let mut kind = reader.u8("tuple kind")?;
    let mut old = None;
    if let b'K' | b'O' = kind {
        old = Some(old_tuple(kind, reader)?);
        kind = reader.u8("tuple kind")?;
    }
    match kind {
        b'N' => Ok(Message::Update { relation, old, new: tuple(reader)? }),
        kind => Err(DecodeError::Unknown("tuple kind", kind)),
    }
}

fn delete(reader: &mut ByteReader) -> Result<Message> {
    let relation = reader.u32("relation id")?;
    let kind = reader.u8("tuple kind")?;
    Ok(Message::Delete { relation, old: old_tuple(kind, reader)? })
}

fn truncate(reader: &mut ByteReader) -> Result<Message> {
    let count = reader.count32("relation count")?;
    // CASCADE and RESTART IDENTITY are ignored: PostgreSQL lists the cascaded tables itself, and the
    // replicated tables have no sequences.
    reader.u8("truncate options")?;
    let mut relations = Vec::with_capacity(reader.capacity(count));
    for _ in 0..count {
        relations.push(reader.u32("relation id")?);
    }
    Ok(Message::Truncate { relations })
}

fn data_type(reader: &mut ByteReader) -> Result<Message> {
    reader.u32("type id")?;
    reader.name("type namespace")?;
    reader.name("type name")?;
    Ok(Message::Announcement)
}

fn origin(reader: &mut ByteReader) -> Result<Message> {
    reader.u32("origin LSN")?;
    reader.u32("origin LSN")?;
    reader.name("origin name")?;
    Ok(Message::Announcement)
}

fn old_tuple(kind: u8, reader: &mut ByteReader) -> Result<OldTuple> {
    match kind {
        b'K' => Ok(OldTuple::Key(tuple(reader)?)),
        b'O' => Ok(OldTuple::Full(tuple(reader)?)),
        kind => Err(DecodeError::Unknown("tuple kind", kind)),
    }
}

fn tuple(reader: &mut ByteReader) -> Result<Tuple> {
    let count = reader.count16("value count")?;
    let mut values = Vec::with_capacity(reader.capacity(count));
    for _ in 0..count {
        values.push(value(reader)?);
    }
    Ok(Tuple(values))
}

fn value(reader: &mut ByteReader) -> Result<Value> {
    match reader.u8("value kind")? {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' => {
            let length = reader.count32("value length")?;
            Ok(Value::Text(reader.text(length, "value")?))
        }
        // PostgreSQL sends `b` (binary) only on request, and leadbridge never requests binary values.
        kind => Err(DecodeError::Unknown("value kind", kind)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn text_value(text: &str) -> Vec<u8> {
        let mut bytes = vec![b't'];
        bytes.put_u32(text.len() as u32);
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    fn update_message() -> Vec<u8> {
        let mut bytes = vec![b'U', 0, 0, 0, 7, b'K', 0, 2];
        bytes.extend(text_value("old"));
        bytes.push(b'n');
        bytes.extend([b'N', 0, 3]);
        bytes.extend(text_value("new"));
        bytes.extend([b'u', b'n']);
        bytes
    }

    #[test]
    fn an_update_carries_its_old_key_and_tells_null_from_unchanged() {
        let decoded = decode(update_message().into()).unwrap();
        let old = OldTuple::Key(Tuple(vec![Value::Text("old".into()), Value::Null]));
        let new = Tuple(vec![Value::Text("new".into()), Value::Unchanged, Value::Null]);
        assert_eq!(decoded, Message::Update { relation: 7, old: Some(old), new });
    }

    #[test]
    fn a_relation_names_its_columns_and_types() {
        let mut bytes = vec![b'R', 0, 0, 0, 7];
        bytes.extend(b"public\0landing_leads\0d");
        bytes.extend([0, 1, 1]);
        bytes.extend(b"id\0");
        bytes.put_u32(2950);
        bytes.put_i32(-1);
        let Message::Relation(relation) = decode(bytes.into()).unwrap() else { panic!("not a relation") };
        assert_eq!(&*relation.name, "landing_leads");
        assert_eq!(relation.replica_identity, ReplicaIdentity::Default);
        assert_eq!(relation.columns, [RelationColumn { key: true, name: "id".into(), type_oid: 2950 }]);
    }

    #[test]
    fn every_cut_of_a_message_is_an_error_and_so_is_a_byte_too_many() {
        let whole = update_message();
        for length in 0..whole.len() {
            assert!(decode(Bytes::copy_from_slice(&whole[..length])).is_err(), "{length} bytes");
        }
        let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
        assert_eq!(decode(longer.into()), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn text_that_is_no_utf8_is_refused() {
        let mut bytes = vec![b'I', 0, 0, 0, 7, b'N', 0, 1, b't', 0, 0, 0, 1];
        bytes.push(0xff);
        assert_eq!(decode(bytes.into()), Err(DecodeError::NotUtf8("value")));
    }
}
