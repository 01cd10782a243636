//! The facts that admission judges: what one side's catalog says of the replicated tables, read with one query.

use serde::Deserialize;
use tokio_postgres::Client;

use crate::change::Table;
use crate::database::Side;
use crate::error::{Error, Result};
use crate::names::Names;

/// One row with one column, a JSON document. Parameter: the tables' names.
const QUERY: &str = include_str!("../../sql/admission.sql");

/// What one side's catalog says, as far as admission asks.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// `server_version_num`.
    pub version: u32,
    /// Those of the tables that are there.
    pub tables: Vec<TableFacts>,
    /// The foreign keys of the tables, those that refer to the tables, and those that refer to such a referring column.
    pub references: Vec<ForeignKey>,
}

/// A relation that has the name of a replicated table. The one-letter facts are the catalog's own.
#[derive(Clone, Debug, Deserialize)]
pub struct TableFacts {
    /// Its place in the list that was asked for.
    pub position: usize,
    pub kind: String,
    pub persistence: String,
    pub is_partition: bool,
    pub access_method: Option<String>,
    /// `pg_class.relreplident`.
    pub identity: String,
    /// Tables that this one inherits from, or is a partition of.
    pub parents: Vec<String>,
    /// Tables that inherit from this one, or are its partitions.
    pub children: Vec<String>,
    pub rules: Vec<String>,
    /// Subscriptions whose apply worker writes to the table.
    pub subscriptions: Vec<String>,
    /// User-defined triggers that fire under `session_replication_role = replica`.
    pub triggers: Vec<String>,
    pub columns: Vec<ColumnFacts>,
    /// Those that are unique, or of an exclusion constraint.
    pub indexes: Vec<IndexFacts>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ColumnFacts {
    pub name: String,
    pub type_oid: u32,
    /// With its modifier: `character varying(50)`.
    pub type_name: String,
    /// `pg_type.typtype`: `b` for a base type, `d` for a domain, `e` for an enum.
    pub type_kind: String,
    /// Digits of a second that a timestamptz keeps; `None` for all six.
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
    /// Of no DEFERRABLE constraint.
    pub is_immediate: bool,
    pub is_valid: bool,
    pub is_partial: bool,
    /// The columns of its key; `None` for an expression.
    pub key: Vec<Option<String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    /// The referring table, with its schema.
    pub from: String,
    /// The referring table's place in the list that was asked for.
    pub from_table: Option<usize>,
    pub from_columns: Vec<String>,
    pub to: String,
    pub to_table: Option<usize>,
    pub to_columns: Vec<String>,
    /// `pg_constraint.confdeltype`.
    pub on_delete: String,
    pub on_update: String,
    pub is_enforced: bool,
    /// A trigger of it was switched off, so that it is not checked or does not act.
    pub is_disabled: bool,
}

/// The names of the tables on that side, quoted and with their schema.
pub fn names_on(side: Side, names: &Names, tables: &[Table]) -> Vec<String> {
    let name = |table: &Table| match side {
        Side::Landing => names.landing_table(*table),
        Side::Traffic => names.traffic_table(*table),
    };
    tables.iter().map(name).collect()
}

impl Facts {
    /// The document as the server writes it, which is the same as long as the facts are.
    ///
    /// # Errors
    /// The connection broke, or the role may not look into a schema.
    pub async fn read(client: &Client, side: Side, names: &Names, tables: &[Table]) -> Result<String> {
        let row = client.query_one(QUERY, &[&names_on(side, names, tables)]).await;
        let row =
            row.map_err(|error| Error::database(format!("reading the tables' shape on the {side}"), &error))?;
        Ok(row.get(0))
    }

    /// # Errors
    /// Internal: the query and the facts do not fit together.
    pub fn parse(document: &str) -> Result<Facts> {
        serde_json::from_str(document)
            .map_err(|error| Error::internal("the tables' shape cannot be read").source_error(error))
    }

    /// The table at that place of the list that was asked for.
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
    /// PostgreSQL relies on it for every row, at every moment: as an arbiter of ON CONFLICT, and as a replica identity.
    pub fn is_dependable(&self) -> bool {
        self.is_unique && self.is_immediate && self.is_valid && !self.is_partial
    }

    pub fn has(&self, column: &str) -> bool {
        self.key.iter().any(|name| name.as_deref() == Some(column))
    }
}
