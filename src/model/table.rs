//! The replicated tables and their columns on Landing, as far as the mapping's rules read them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::names::column_ident;

/// A replicated Landing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    LandingLeads,
    LeadJourney,
    ScheduledNotifications,
}

/// The PostgreSQL type of a Landing column, as far as the mapping distinguishes types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Uuid,
    Text,
    Jsonb,
    Boolean,
    Integer,
    Timestamptz,
    /// A type that no rule reads: the values stay PostgreSQL's text.
    Other,
}

impl ColumnType {
    /// PostgreSQL types that a column of this kind may have: OID as fixed in pg_type.dat, name, and the name that
    /// `format_type` gives.
    pub fn accepted(self) -> &'static [(u32, &'static str, &'static str)] {
        match self {
            ColumnType::Uuid => &[(2950, "uuid", "uuid")],
            ColumnType::Text => &[(25, "text", "text"), (1043, "varchar", "character varying")],
            ColumnType::Jsonb => &[(3802, "jsonb", "jsonb")],
            ColumnType::Boolean => &[(16, "bool", "boolean")],
            ColumnType::Integer => &[(23, "int4", "integer"), (21, "int2", "smallint")],
            ColumnType::Timestamptz => &[(1184, "timestamptz", "timestamp with time zone")],
            ColumnType::Other => &[],
        }
    }

    /// The kind of a column by the name of its type, without a modifier.
    pub fn of_sql(sql_type: &str) -> ColumnType {
        match sql_type {
            "uuid" => ColumnType::Uuid,
            "text" => ColumnType::Text,
            "jsonb" => ColumnType::Jsonb,
            "boolean" => ColumnType::Boolean,
            "integer" | "bigint" | "smallint" => ColumnType::Integer,
            "timestamptz" => ColumnType::Timestamptz,
            _ => ColumnType::Other,
        }
    }

    pub fn accepts(self, oid: u32) -> bool {
        self.accepted().iter().any(|(accepted, ..)| *accepted == oid)
    }

    /// As [`ColumnType::accepts`], by the name that `format_type` gives, without a modifier.
    pub fn accepts_named(self, sql_type: &str) -> bool {
        self.accepted().iter().any(|(.., name)| *name == sql_type)
    }

    /// Names of the accepted types, for messages: `int4 or int2`.
    pub fn accepted_names(self) -> String {
        self.accepted().iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(" or ")
    }
}

/// A Landing column that the mapping carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    pub kind: ColumnType,
    /// Whether every Landing database must have the column. Older databases lack the optional columns; a
    /// target column of an absent column belongs to Traffic (guarantees 4.3).
    pub required: bool,
    /// Whether no rule reads the column, and Traffic holds the values verbatim.
    pub is_passthrough: bool,
}

impl Column {
    /// The column's name, quoted for SQL where necessary.
    pub fn ident(&self) -> Cow<'static, str> {
        column_ident(self.name.clone())
    }

    /// Whether PostgreSQL may compute the column on Landing. The stream does not send a generated column, so the
    /// column then counts as absent.
    pub fn may_be_generated(&self) -> bool {
        self.name == "phone_normalized"
    }
}

const fn required(name: &'static str, kind: ColumnType) -> Column {
    Column { name: Cow::Borrowed(name), kind, required: true, is_passthrough: false }
}

const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name: Cow::Borrowed(name), kind, required: false, is_passthrough: false }
}

/// Positions of `landing_leads` columns in a row.
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
    /// Landing's own normalisation of the phone, often stale. Traffic's `phone_normalized` is computed from the
    /// phone; `landing_phone_normalized` keeps this value.
    pub const PHONE_NORMALIZED: usize = 18;
    pub const UTM_SOURCE: usize = 19;
    pub const UTM_MEDIUM: usize = 20;
    pub const UTM_CAMPAIGN: usize = 21;
    pub const UTM_CONTENT: usize = 22;
    pub const UTM_TERM: usize = 23;
}

/// Positions of `lead_journey` columns in a row.
pub mod journey {
    pub const ID: usize = 0;
    pub const LEAD_ID: usize = 1;
    pub const STAGE: usize = 2;
    pub const SOURCE: usize = 3;
    pub const METADATA: usize = 4;
    pub const CREATED_AT: usize = 5;
}

/// Positions of `scheduled_notifications` columns in a row.
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

static LEAD_COLUMNS: [Column; 24] = [
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
    optional("utm_source", Text),
    optional("utm_medium", Text),
    optional("utm_campaign", Text),
    optional("utm_content", Text),
    optional("utm_term", Text),
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
    /// All tables in the order of a copy: leads before the rows that refer to leads.
    pub const ALL: [Table; 3] = [Table::LandingLeads, Table::LeadJourney, Table::ScheduledNotifications];

    /// The replicated tables, in the order of [`Table::ALL`]. The optional table is included only when the
    /// configuration enables the table.
    pub fn replicated(scheduled_notifications: bool) -> Vec<Table> {
        let wanted = |table: &Table| scheduled_notifications || *table != Table::ScheduledNotifications;
        Table::ALL.into_iter().filter(wanted).collect()
    }

    /// The word for the table in state records, the same on every installation. `Names::landing_name` is the
    /// table's name on Landing.
    pub fn label(self) -> &'static str {
        match self {
            Table::LandingLeads => "landing_leads",
            Table::LeadJourney => "lead_journey",
            Table::ScheduledNotifications => "scheduled_notifications",
        }
    }

    /// Name of the table on Traffic.
    pub fn traffic_name(self) -> &'static str {
        match self {
            Table::LandingLeads => "traffic_leads",
            Table::LeadJourney => "traffic_lead_journey",
            Table::ScheduledNotifications => "traffic_scheduled_notifications",
        }
    }

    pub fn from_label(label: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.label() == label)
    }

    pub fn from_traffic_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.traffic_name() == name)
    }

    /// The columns that the rules of the mapping read, in the order of the values of a row. `id` is always
    /// first.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Table::LandingLeads => &LEAD_COLUMNS,
            Table::LeadJourney => &JOURNEY_COLUMNS,
            Table::ScheduledNotifications => &NOTIFICATION_COLUMNS,
        }
    }

    /// Position of the column with the lead's id; `None` for the leads themselves.
    pub fn lead_column(self) -> Option<usize> {
        match self {
            Table::LandingLeads => None,
            Table::LeadJourney => Some(journey::LEAD_ID),
            Table::ScheduledNotifications => Some(notification::LEAD_ID),
        }
    }
}
