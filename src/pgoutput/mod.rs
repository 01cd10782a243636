//! `pgoutput`, protocol version 1: bytes in, messages out; no I/O, no state.
//!
//! Source of the format: PostgreSQL's documentation, "Logical Replication Message Formats". [`open_envelope`]
//! opens the envelope of each message first. Begin, Commit and logical messages become events there, and
//! never reach the decoder. Any bytes are safe to decode: truncated, left-over or unknown bytes are a
//! [`DecodeError`], never a panic.

mod decode;
mod envelope;
mod reader;

use bytestring::ByteString;

pub use decode::decode;
pub use envelope::{Beginning, ReplicationEvent, open_envelope};
pub use reader::DecodeError;

/// A message of the stream, without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple,
    },
    Update {
        relation: u32,
        old: Option<OldTuple>,
        new: Tuple,
    },
    Delete {
        relation: u32,
        old: OldTuple,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Announcement of a data type or a replication origin, without use for leadbridge.
    Announcement,
}

/// Description of a table's columns, valid from this message on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table's OID on the source; row messages refer to the OID.
    pub id: u32,
    pub namespace: ByteString,
    pub name: ByteString,
    pub replica_identity: ReplicaIdentity,
    pub columns: Vec<RelationColumn>,
}

/// `pg_class.relreplident`: the old values in updates and deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `d`: the primary key.
    Default,
    /// `n`: nothing; PostgreSQL refuses updates and deletes of a published table.
    Nothing,
    /// `f`: the whole row.
    Full,
    /// `i`: a chosen unique index.
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Whether the column is part of the replica identity.
    pub key: bool,
    pub name: ByteString,
    /// OID of the column's type.
    pub type_oid: u32,
}

/// The values of a row, in the relation's column order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple(pub Vec<Value>);

/// The old values of an updated or deleted row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldTuple {
    /// `K`: only the replica identity's columns are filled.
    Key(Tuple),
    /// `O`: the whole row (replica identity full).
    Full(Tuple),
}

impl OldTuple {
    pub fn tuple(&self) -> &Tuple {
        match self {
            OldTuple::Key(tuple) | OldTuple::Full(tuple) => tuple,
        }
    }
}

/// Value of a column.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    /// An unchanged TOASTed value. The stream does not send the value.
    Unchanged,
    /// PostgreSQL's text output; a slice of the message.
    Text(ByteString),
}

/// Shows no value, because a value may be somebody's name or phone.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => f.write_str("Null"),
            Value::Unchanged => f.write_str("Unchanged"),
            Value::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

#[cfg(test)]
mod encoder_tests;
