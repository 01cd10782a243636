//! Names of leadbridge's objects and of the replicated tables on both databases, quoted for SQL.
//!
//! Every statement qualifies its tables with a schema, so that no statement depends on `search_path`.

use std::borrow::Cow;

use postgres_protocol::escape::escape_identifier;

use crate::model::change::Table;
use crate::model::side::Side;

/// State tables that leadbridge's role writes directly. `migrate` and `doctor` require these tables.
/// Migrations and `SECURITY DEFINER` functions write the other state tables.
pub const STATE_TABLES: [&str; 11] = [
    "checkpoint",
    "quarantine",
    "conversion_notes",
    "cutover",
    "markers",
    "reverse",
    "reverse_quarantine",
    "finish",
    "installation",
    "last_error",
    "import",
];

/// Configured names on both databases. Every name can be configured, so that two installations can share a
/// server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The replication slot on Landing.
    pub slot: String,
    /// The publication on Landing.
    pub publication: String,
    /// leadbridge's schema: on Traffic the state tables, on both databases the fence.
    pub schema: String,
    /// Schema of the replicated tables on Landing.
    pub landing_schema: String,
    /// Schema of the replicated tables on Traffic.
    pub traffic_schema: String,
    /// The journey's table on Landing.
    pub landing_journey: String,
}

/// Names of the journey's table on Landing: that of most databases, and production's.
pub const JOURNEY_NAMES: [&str; 2] = ["lead_journey", "journey_stages"];

impl Default for Names {
    fn default() -> Self {
        Names {
            slot: "leadbridge".into(),
            publication: "leadbridge".into(),
            schema: "leadbridge".into(),
            landing_schema: "public".into(),
            traffic_schema: "public".into(),
            landing_journey: JOURNEY_NAMES[0].into(),
        }
    }
}

impl Names {
    /// The slot of the stream that comes from `side`.
    pub fn slot_on(&self, side: Side) -> String {
        match side {
            Side::Landing => self.slot.clone(),
            Side::Traffic => self.reverse_slot(),
        }
    }

    /// The slot of reverse replication on Traffic.
    pub fn reverse_slot(&self) -> String {
        format!("{}{REVERSE_SUFFIX}", self.slot)
    }

    /// The publication of reverse replication on Traffic.
    pub fn reverse_publication(&self) -> String {
        format!("{}{REVERSE_SUFFIX}", self.publication)
    }

    /// Comment on a role that leadbridge's SQL has made for this installation. `leadbridge finish` takes rights away
    /// from such roles alone.
    pub fn role_mark(&self) -> String {
        format!("made by leadbridge for the slot {}, schema {}", self.slot, self.schema)
    }

    /// A table's name on Landing, for messages: `journey_stages`.
    pub fn landing_name(&self, table: Table) -> &str {
        match table {
            Table::LeadJourney => &self.landing_journey,
            Table::LandingLeads | Table::ScheduledNotifications => table.label(),
        }
    }

    /// The table with this name on Landing.
    pub fn from_landing_name(&self, name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| self.landing_name(*table) == name)
    }

    /// A table on Landing: `"public"."landing_leads"`.
    pub fn landing_table(&self, table: Table) -> String {
        qualified(&self.landing_schema, self.landing_name(table))
    }

    /// The corresponding table on Traffic: `"public"."traffic_leads"`.
    pub fn traffic_table(&self, table: Table) -> String {
        qualified(&self.traffic_schema, table.traffic_name())
    }

    /// A table or function in leadbridge's schema, on Traffic or on Landing: `"leadbridge"."checkpoint"`.
    pub fn own(&self, table: &str) -> String {
        qualified(&self.schema, table)
    }
}

/// Checks a configured name. PostgreSQL would cut a longer name, and the SQL files use names inside literals,
/// dollar quotes and format strings, where a few characters have a special meaning.
///
/// # Errors
/// The reason, as the part of a sentence that follows the name.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let forbidden = |c: char| matches!(c, '\'' | '"' | '$' | '%' | '\\' | '{' | '}') || c.is_control();
    match name {
        "" => Err("cannot be empty"),
        name if name.len() > LONGEST => Err("has more than 63 bytes, which PostgreSQL would cut"),
        name if name.contains(forbidden) => Err("holds quotes, or one of $ % \\ { }"),
        _ => Ok(()),
    }
}

/// PostgreSQL's `NAMEDATALEN` less its terminating zero.
pub const LONGEST: usize = 63;

/// Suffix of the slot and the publication of reverse replication.
pub const REVERSE_SUFFIX: &str = "_reverse";

/// `"schema"."object"`, both quoted.
pub fn qualified(schema: &str, object: &str) -> String {
    format!("{}.{}", escape_identifier(schema), escape_identifier(object))
}

/// A column's name, quoted for SQL where necessary: the names that the rules know, which are static, need no
/// quotes.
pub fn column_ident(name: Cow<'static, str>) -> Cow<'static, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(name),
        Cow::Owned(name) => Cow::Owned(escape_identifier(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qualified_and_quoted() {
        let names =
            Names { schema: "lead\"bridge".into(), traffic_schema: "Школа".into(), ..Names::default() };
        assert_eq!(names.landing_table(Table::LeadJourney), r#""public"."lead_journey""#);
        assert_eq!(names.traffic_table(Table::LandingLeads), r#""Школа"."traffic_leads""#);
        let names = Names { landing_journey: "journey_stages".into(), ..names };
        assert_eq!(names.landing_table(Table::LeadJourney), r#""public"."journey_stages""#);
        assert_eq!(names.own("checkpoint"), r#""lead""bridge"."checkpoint""#);
    }
}
