//! Rows and changes: the types that capture hands to apply, free of I/O and of wire formats.
//!
//! All types can be serialised, so that a log may one day stand between capture and apply. Values stay in
//! PostgreSQL's text output: no value is parsed before the mapping requires parsing, and no value is rounded.

use std::fmt;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use super::table::{Column, ColumnType, Table, journey, lead, notification};
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;

/// One value of a row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datum {
    Null,
    /// PostgreSQL's text output, as a slice of the receive buffer.
    Text(ByteString),
    /// An unchanged TOAST value, which `pgoutput` does not send.
    Unchanged,
}

impl Datum {
    pub fn text(text: impl Into<ByteString>) -> Self {
        Datum::Text(text.into())
    }

    /// The text; `None` for null and for an unchanged TOAST value. Callers must resolve [`Datum::Unchanged`]
    /// first.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(text) => Some(text),
            Datum::Null | Datum::Unchanged => None,
        }
    }

    /// Bytes of text, for the memory bound of a batch.
    fn size(&self) -> usize {
        self.as_str().map_or(0, str::len)
    }
}

/// Shows no value, because a value may be a person's name or phone.
impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Null => f.write_str("Null"),
            Datum::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Datum::Unchanged => f.write_str("Unchanged"),
        }
    }
}

/// A row of a Landing table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub table: Table,
    /// The primary key, parsed; `values[0]` holds its text.
    pub id: Uuid,
    /// One value for each column that the mapping of the table carries, in the mapping's order.
    pub values: Box<[Datum]>,
}

impl Row {
    /// The lead of a journey entry or notification; `None` for a lead, and for text that is not a UUID.
    pub fn lead_id(&self) -> Option<Uuid> {
        let column = self.table.lead_column()?;
        self.values.get(column)?.as_str()?.parse().ok()
    }

    pub fn has_unchanged(&self) -> bool {
        self.values.contains(&Datum::Unchanged)
    }

    /// Fills unchanged TOAST values from `older`, an earlier version of the row.
    pub fn fill_unchanged_from(&mut self, older: &Row) {
        for (value, old) in self.values.iter_mut().zip(&older.values) {
            if *value == Datum::Unchanged {
                *value = old.clone();
            }
        }
    }

    /// Copies the values out of the message of which the values are slices.
    pub fn leave_message(&mut self) {
        for value in &mut self.values {
            if let Datum::Text(text) = value {
                *text = ByteString::from(&**text);
            }
        }
    }

    /// Approximate bytes in memory: text plus the fixed part.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.values.iter().map(|value| size_of::<Datum>() + value.size()).sum::<usize>()
    }
}

/// Table and primary key of a row.
pub type RowKey = (Table, Uuid);

/// Operation on a row, with PostgreSQL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The row was read by an initial copy.
    Copy,
    Insert,
    Update,
    Delete,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Copy => "copy",
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }
}

/// A change of a transaction. `R` is the content of a written row: the [`Row`] of a transaction on Landing,
/// only the [`RowKey`] of a transaction on Traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change<R = Row> {
    /// The new version of a row. `old_id` is set when an update changed the primary key.
    Write {
        operation: Operation,
        row: R,
        old_id: Option<Uuid>,
    },
    Delete {
        table: Table,
        id: Uuid,
    },
    Truncate {
        tables: Vec<Table>,
    },
}

impl Change {
    /// Approximate bytes in memory.
    pub fn size(&self) -> usize {
        match self {
            Change::Write { row, .. } => size_of::<Self>() + row.size(),
            Change::Delete { .. } | Change::Truncate { .. } => size_of::<Self>(),
        }
    }

    /// The key of the changed row.
    pub fn key(&self) -> Option<(Table, Uuid)> {
        match self {
            Change::Write { row, .. } => Some((row.table, row.id)),
            Change::Delete { table, id } => Some((*table, *id)),
            Change::Truncate { .. } => None,
        }
    }
}

/// Origin of a change: the commit of the change's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Transaction id on Landing; `None` for a row of an initial copy, a repair or a retry from quarantine.
    pub xid: Option<u32>,
    /// LSN of the commit record, shared by all changes of a transaction.
    pub commit_lsn: Lsn,
    /// By Landing's clock.
    pub commit_time: Timestamp,
}

/// A change, and the commit of the change's transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcedChange<R = Row> {
    pub origin: Origin,
    pub change: Change<R>,
}

/// A position from which a restart loses and repeats no change: the end of a transaction, or a keepalive that
/// arrived while no change was in flight. Times are by the source's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Position after the commit record, or a keepalive's WAL end.
    pub lsn: Lsn,
    /// Commit time of the transaction; `None` for a keepalive.
    pub commit_time: Option<Timestamp>,
    /// Time before which every commit on the source lies before `lsn`.
    pub caught_up_at: Timestamp,
}
