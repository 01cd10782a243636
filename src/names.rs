//! What our objects are called on both databases, quoted for SQL.
//!
//! Every statement names its tables in full: nothing depends on `search_path`.

use postgres_protocol::escape::escape_identifier;

use crate::change::Table;

/// Our own tables on Traffic that the daemon writes.
pub const STATE_TABLES: [&str; 10] = [
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
];

/// Names on both databases. All can be changed, so that two installations can share a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The replication slot on Landing.
    pub slot: String,
    /// The publication on Landing.
    pub publication: String,
    /// Our own schema: on Traffic checkpoint, quarantine, notes, migrations and the cutover's state_tables, on both the fence.
    pub schema: String,
    /// Where the replicated tables are on Landing.
    pub landing_schema: String,
    /// Where the tables they become are on Traffic.
    pub traffic_schema: String,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            slot: "leadbridge".into(),
            publication: "leadbridge".into(),
            schema: "leadbridge".into(),
            landing_schema: "public".into(),
            traffic_schema: "public".into(),
        }
    }
}

impl Names {
    /// The slot on Traffic from which changes flow back after a cutover.
    pub fn reverse_slot(&self) -> String {
        format!("{}{REVERSE_SUFFIX}", self.slot)
    }

    /// The publication on Traffic of what flows back.
    pub fn reverse_publication(&self) -> String {
        format!("{}{REVERSE_SUFFIX}", self.publication)
    }

    /// A table on Landing: `"public"."landing_leads"`.
    pub fn landing_table(&self, table: Table) -> String {
        qualified(&self.landing_schema, table.landing_name())
    }

    /// The table on Traffic that it becomes: `"public"."traffic_leads"`.
    pub fn traffic_table(&self, table: Table) -> String {
        qualified(&self.traffic_schema, table.traffic_name())
    }

    /// A table or function in our own schema, on Traffic or on Landing: `"leadbridge"."checkpoint"`.
    pub fn own(&self, table: &str) -> String {
        qualified(&self.schema, table)
    }
}

/// Why `name` cannot be the name of an object of ours or of the school's: PostgreSQL would cut it, or it stands inside
/// literals, dollar quotes and format strings of our SQL files, where a few characters mean something else.
///
/// # Errors
/// The reason, as what follows the name in a sentence.
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

/// What the names on Traffic of reverse replication have behind those on Landing.
pub const REVERSE_SUFFIX: &str = "_reverse";

/// `"schema"."object"`, both quoted.
pub fn qualified(schema: &str, object: &str) -> String {
    format!("{}.{}", escape_identifier(schema), escape_identifier(object))
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
        assert_eq!(names.own("checkpoint"), r#""lead""bridge"."checkpoint""#);
    }
}
