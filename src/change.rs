//! The vocabulary in which capture and apply meet: tables, rows and changes, free of I/O and of wire formats.
//!
//! Everything here can be serialised, so that a log may one day stand between the two.
//! Values stay PostgreSQL's own text output: nothing is parsed before the mapping has to, and nothing is
//! rounded on the way.

use std::fmt;

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::lsn::Lsn;
use crate::timestamp::Timestamp;

/// A Landing table that is replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    LandingLeads,
    LeadJourney,
    ScheduledNotifications,
}

/// The PostgreSQL type of a Landing column, as far as the mapping cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Uuid,
    Text,
    Jsonb,
    Boolean,
    Integer,
    Timestamptz,
}

impl ColumnType {
    /// The types a column of this kind may have: OID, as PostgreSQL fixes it in pg_type.dat, and name.
    pub fn accepted(self) -> &'static [(u32, &'static str)] {
        match self {
            ColumnType::Uuid => &[(2950, "uuid")],
            ColumnType::Text => &[(25, "text"), (1043, "varchar")],
            ColumnType::Jsonb => &[(3802, "jsonb")],
            ColumnType::Boolean => &[(16, "bool")],
            ColumnType::Integer => &[(23, "int4"), (21, "int2")],
            ColumnType::Timestamptz => &[(1184, "timestamptz")],
        }
    }

    pub fn accepts(self, oid: u32) -> bool {
        self.accepted().iter().any(|(accepted, _)| *accepted == oid)
    }

    /// `int4 or int2`, for people.
    pub fn accepted_names(self) -> String {
        self.accepted().iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" or ")
    }
}

/// A Landing column the mapping knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    /// Older databases lack the others: what such a column becomes is then Traffic's (guarantees 4.3).
    pub required: bool,
}

const fn required(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, required: true }
}

const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, required: false }
}

/// Positions of `landing_leads` columns in a [`Row`].
pub mod lead {
    pub const ID: usize = 0;
    pub const EMAIL: usize = 1;
    pub const NAME: usize = 2;
    pub const PHONE: usize = 3;
    pub const SOURCE: usize = 4;
    pub const METADATA: usize = 5;
    pub const AMOCRM_LEAD_ID: usize = 6;
    pub const AMOCRM_CONTACT_ID: usize = 7;
    pub const AMOCRM_SYNCED: usize = 8;
    pub const EMAIL_SENT: usize = 9;
    pub const SMS_SENT: usize = 10;
    pub const EMAIL_CLICKED: usize = 11;
    pub const SMS_CLICKED: usize = 12;
    pub const EMAIL_CLICKED_AT: usize = 13;
    pub const SMS_CLICKED_AT: usize = 14;
    pub const CLICK_COUNT: usize = 15;
    pub const CREATED_AT: usize = 16;
    pub const UPDATED_AT: usize = 17;
    /// Landing's own normalisation: carried so that a quarantined row is whole, never used (docs/mapping.md).
    pub const PHONE_NORMALIZED: usize = 18;
}

/// Positions of `lead_journey` columns in a [`Row`].
pub mod journey {
    pub const ID: usize = 0;
    pub const LEAD_ID: usize = 1;
    pub const STAGE: usize = 2;
    pub const SOURCE: usize = 3;
    pub const METADATA: usize = 4;
    pub const CREATED_AT: usize = 5;
}

/// Positions of `scheduled_notifications` columns in a [`Row`].
pub mod notification {
    pub const ID: usize = 0;
    pub const LEAD_ID: usize = 1;
    pub const NOTIFICATION_TYPE: usize = 2;
    pub const SCHEDULED_FOR: usize = 3;
    pub const STATUS: usize = 4;
    pub const SENT_AT: usize = 5;
    pub const ERROR_MESSAGE: usize = 6;
    pub const RETRY_COUNT: usize = 7;
    pub const LAST_RETRY_AT: usize = 8;
    pub const METADATA: usize = 9;
    pub const CREATED_AT: usize = 10;
    pub const UPDATED_AT: usize = 11;
}

use ColumnType::{Boolean, Integer, Jsonb, Text, Timestamptz, Uuid as UuidType};

static LEAD_COLUMNS: [Column; 19] = [
    required("id", UuidType),
    optional("email", Text),
    required("name", Text),
    required("phone", Text),
    required("source", Text),
    required("metadata", Jsonb),
    required("amocrm_lead_id", Text),
    optional("amocrm_contact_id", Text),
    optional("amocrm_synced", Boolean),
    optional("email_sent", Boolean),
    optional("sms_sent", Boolean),
    optional("email_clicked", Boolean),
    optional("sms_clicked", Boolean),
    optional("email_clicked_at", Timestamptz),
    optional("sms_clicked_at", Timestamptz),
    optional("click_count", Integer),
    required("created_at", Timestamptz),
    required("updated_at", Timestamptz),
    optional("phone_normalized", Text),
];

static JOURNEY_COLUMNS: [Column; 6] = [
    required("id", UuidType),
    required("lead_id", UuidType),
    required("stage", Text),
    required("source", Text),
    required("metadata", Jsonb),
    required("created_at", Timestamptz),
];

static NOTIFICATION_COLUMNS: [Column; 12] = [
    required("id", UuidType),
    required("lead_id", UuidType),
    required("notification_type", Text),
    required("scheduled_for", Timestamptz),
    required("status", Text),
    required("sent_at", Timestamptz),
    required("error_message", Text),
    required("retry_count", Integer),
    required("last_retry_at", Timestamptz),
    required("metadata", Jsonb),
    required("created_at", Timestamptz),
    required("updated_at", Timestamptz),
];

impl Table {
    /// In the order in which a copy must go: a lead before what refers to it.
    pub const ALL: [Table; 3] = [Table::LandingLeads, Table::LeadJourney, Table::ScheduledNotifications];

    /// The tables that are replicated, in the order of [`Table::ALL`]: the optional one only when it is switched on.
    pub fn replicated(scheduled_notifications: bool) -> Vec<Table> {
        let wanted = |table: &Table| scheduled_notifications || *table != Table::ScheduledNotifications;
        Table::ALL.into_iter().filter(wanted).collect()
    }

    /// The table's name on Landing.
    pub fn landing_name(self) -> &'static str {
        match self {
            Table::LandingLeads => "landing_leads",
            Table::LeadJourney => "lead_journey",
            Table::ScheduledNotifications => "scheduled_notifications",
        }
    }

    /// The name of the table on Traffic that it becomes.
    pub fn traffic_name(self) -> &'static str {
        match self {
            Table::LandingLeads => "traffic_leads",
            Table::LeadJourney => "traffic_lead_journey",
            Table::ScheduledNotifications => "traffic_scheduled_notifications",
        }
    }

    pub fn from_landing_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.landing_name() == name)
    }

    pub fn from_traffic_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.traffic_name() == name)
    }

    /// The columns of a [`Row`], in its order. `id` is always the first.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Table::LandingLeads => &LEAD_COLUMNS,
            Table::LeadJourney => &JOURNEY_COLUMNS,
            Table::ScheduledNotifications => &NOTIFICATION_COLUMNS,
        }
    }

    /// The position of the column that names the lead a row belongs to; `None` for the leads themselves.
    pub fn lead_column(self) -> Option<usize> {
        match self {
            Table::LandingLeads => None,
            Table::LeadJourney => Some(journey::LEAD_ID),
            Table::ScheduledNotifications => Some(notification::LEAD_ID),
        }
    }
}

/// One value of a row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datum {
    Null,
    /// PostgreSQL's text output; a slice of the buffer it arrived in.
    Text(ByteString),
    /// A TOASTed value that the update left as it was: `pgoutput` did not send it.
    Unchanged,
}

impl Datum {
    pub fn text(text: impl Into<ByteString>) -> Self {
        Datum::Text(text.into())
    }

    /// The text; `None` for null and for what was not sent. Resolve [`Datum::Unchanged`] before asking.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(text) => Some(text),
            Datum::Null | Datum::Unchanged => None,
        }
    }

    /// Bytes of text held, for the memory bound of a batch.
    fn size(&self) -> usize {
        self.as_str().map_or(0, str::len)
    }
}

/// Shows no value: it may be somebody's name or phone.
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
    /// One value for each of [`Table::columns`], in that order.
    pub values: Box<[Datum]>,
}

impl Row {
    /// The lead that a stage or a notification belongs to; `None` for a lead, and for text that is no UUID.
    pub fn lead_id(&self) -> Option<Uuid> {
        let column = self.table.lead_column()?;
        self.values.get(column)?.as_str()?.parse().ok()
    }

    pub fn has_unchanged(&self) -> bool {
        self.values.contains(&Datum::Unchanged)
    }

    /// Takes from `older` every value that this row's change did not send.
    pub fn fill_unchanged_from(&mut self, older: &Row) {
        for (value, old) in self.values.iter_mut().zip(&older.values) {
            if *value == Datum::Unchanged {
                *value = old.clone();
            }
        }
    }

    /// Bytes held, about: text plus the fixed part.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.values.iter().map(|value| size_of::<Datum>() + value.size()).sum::<usize>()
    }
}

/// What happened to a row on Landing. The names are PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Read by the snapshot.
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

/// One change of one transaction on Landing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The row is now so. `old_id` is set when an update changed the primary key.
    Write {
        operation: Operation,
        row: Row,
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
    /// Bytes held, about.
    pub fn size(&self) -> usize {
        match self {
            Change::Write { row, .. } => size_of::<Self>() + row.size(),
            Change::Delete { .. } | Change::Truncate { .. } => size_of::<Self>(),
        }
    }
}

/// Where a change comes from: the commit of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The transaction's id on Landing; `None` for what a snapshot or quarantine brought.
    pub xid: Option<u32>,
    /// LSN of the commit record; all changes of one transaction share it.
    pub commit_lsn: Lsn,
    /// By Landing's clock.
    pub commit_time: Timestamp,
}

/// A change together with its transaction's commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcedChange {
    pub origin: Origin,
    pub change: Change,
}

/// A position from which a restart loses and repeats nothing: the end of a transaction, or a keepalive that
/// came while nothing was in flight. Times are by Landing's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The position after the commit record; a keepalive's WAL end.
    pub lsn: Lsn,
    /// When the transaction was committed; `None` for a keepalive.
    pub commit_time: Option<Timestamp>,
    /// Everything committed on Landing before this time lies before `lsn`.
    pub caught_up_at: Timestamp,
}
