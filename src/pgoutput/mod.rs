//! `pgoutput`, protocol version 1: bytes in, messages out; no I/O, no state.
//!
//! Source of the format: PostgreSQL's documentation, "Logical Replication Message Formats".
//! The envelopes in which a stream carries them are opened first; Begin, Commit and logical messages are events of their
//! own by then, and never reach the decoder. Any bytes are safe to decode: what is truncated, has bytes
//! left over or is unknown is a [`DecodeError`], never a panic.

mod decode;
mod envelope;
mod reader;

use bytestring::ByteString;

pub use decode::decode;
pub use envelope::{ReplicationEvent, open_envelope};
pub use reader::DecodeError;

/// One message of the stream.
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
    /// A data type or a replication origin was announced: nothing that we need.
    Announcement,
}

/// What a relation's columns look like from here on in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table's OID on Landing; row messages refer to it.
    pub id: u32,
    pub namespace: ByteString,
    pub name: ByteString,
    pub replica_identity: ReplicaIdentity,
    pub columns: Vec<RelationColumn>,
}

/// `pg_class.relreplident`: which old values updates and deletes carry.
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
    /// Part of the replica identity.
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

/// One column's value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    /// An unchanged TOASTed value, which is not sent.
    Unchanged,
    /// PostgreSQL's text output; a slice of the message.
    Text(ByteString),
}

/// Shows no value: it may be somebody's name or phone.
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
