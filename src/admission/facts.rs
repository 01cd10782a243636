//! The facts that admission judges: the catalog's description of one side's replicated tables, read with one
//! query.

use serde::Deserialize;
use tokio_postgres::Client;

use super::AdmissionScope;
use crate::error::{Error, Result};
use crate::postgres::step::during;

/// Returns one row with one column, a JSON document. Parameter: the names of the tables.
const QUERY: &str = include_str!("../../sql/admission.sql");

/// The part of one side's catalog that admission judges.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// `server_version_num`.
    pub version: u32,
    /// The requested tables that exist.
    pub tables: Vec<TableFacts>,
    /// Foreign keys from and to the requested tables, and foreign keys to a column whose value changes with
    /// the `id` of a requested table.
    pub references: Vec<ForeignKey>,
}

/// A relation with the name of a replicated table. One-letter values are the catalog's own codes.
#[derive(Clone, Debug, Deserialize)]
pub struct TableFacts {
    /// Index in the list of requested tables.
    pub position: usize,
    pub kind: String,
    pub persistence: String,
    pub is_partition: bool,
    pub access_method: Option<String>,
    /// `pg_class.relreplident`.
    pub identity: String,
    /// Parent tables, by inheritance or by partitioning.
    pub parents: Vec<String>,
    /// Child tables and partitions.
    pub children: Vec<String>,
    pub rules: Vec<String>,
    /// Subscriptions whose apply worker writes to the table.
    pub subscriptions: Vec<String>,
    /// Triggers that fire under `session_replication_role = replica` (ENABLE ALWAYS and ENABLE REPLICA), the
    /// fence's trigger included.
    pub triggers: Vec<String>,
    pub columns: Vec<ColumnFacts>,
    /// Unique indexes, and indexes of exclusion constraints.
    pub indexes: Vec<IndexFacts>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ColumnFacts {
    pub name: String,
    pub type_oid: u32,
    /// Name of the type with its modifier: `character varying(50)`.
    pub type_name: String,
    /// `pg_type.typtype`: `b` for a base type, `d` for a domain, `e` for an enum.
    pub type_kind: String,
    /// Digits of a second that a timestamptz with a precision keeps. `None` for a timestamptz without a
    /// precision, which keeps six digits, and for every other type.
    pub precision: Option<i32>,
    pub is_not_null: bool,
    pub is_generated: bool,
    /// GENERATED ALWAYS AS IDENTITY: takes no value from an INSERT.
    pub is_always_identity: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct IndexFacts {
    pub name: String,
    pub is_unique: bool,
    pub is_exclusion: bool,
    pub is_primary: bool,
    /// Named by REPLICA IDENTITY USING INDEX.
    pub is_identity: bool,
    /// The index belongs to no DEFERRABLE constraint.
    pub is_immediate: bool,
    pub is_valid: bool,
    pub is_partial: bool,
    /// Columns of the index's key; `None` in the place of an expression.
    pub key: Vec<Option<String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    /// The referring table, with its schema.
    pub from: String,
    /// Index of the referring table in the list of requested tables; `None` for any other table.
    pub from_table: Option<usize>,
    pub from_columns: Vec<String>,
    pub to: String,
    pub to_table: Option<usize>,
    pub to_columns: Vec<String>,
    /// `pg_constraint.confdeltype`.
    pub on_delete: String,
    pub on_update: String,
    pub is_enforced: bool,
    /// A trigger of the foreign key is disabled, so PostgreSQL does not check the key or does not run its
    /// action.
    pub is_disabled: bool,
}

impl Facts {
    /// The facts as the server's JSON document. Equal facts give equal documents, so a change shows in the
    /// text.
    ///
    /// # Errors
    /// The connection broke, or the role lacks the privilege to look into a schema.
    pub async fn read(client: &Client, scope: &AdmissionScope<'_>) -> Result<String> {
        let row = during(client, format!("reading the tables' shape on the {}", scope.side))
            .row(QUERY, &[&scope.quoted()])
            .await?;
        Ok(row.get(0))
    }

    /// # Errors
    /// Internal, when the document does not have the fields of [`Facts`].
    pub fn parse(document: &str) -> Result<Facts> {
        serde_json::from_str(document)
            .map_err(|error| Error::internal("the tables' shape cannot be read").source_error(error))
    }

    /// Facts of the table at `position` in the list of requested tables.
    pub fn table(&self, position: usize) -> Option<&TableFacts> {
        self.tables.iter().find(|table| table.position == position)
    }
}

impl TableFacts {
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl IndexFacts {
    /// Whether PostgreSQL can rely on the index for every row at every moment, as an arbiter of ON CONFLICT
    /// and as a replica identity.
    pub fn is_dependable(&self) -> bool {
        self.is_unique && self.is_immediate && self.is_valid && !self.is_partial
    }

    pub fn has(&self, column: &str) -> bool {
        self.key.iter().any(|name| name.as_deref() == Some(column))
    }
}
