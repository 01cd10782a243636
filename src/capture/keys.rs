//! Captures the keys in Traffic's stream; pure. Values in the stream are ignored, because a row is read from
//! Traffic when the row is carried.

use uuid::Uuid;

use super::framing::{Announced, Capture, ReplicatedRelation};
use crate::error::{Error, Result};
use crate::model::change::{RowKey, Table};
use crate::pgoutput::{OldTuple, Relation, ReplicaIdentity, Tuple, Value};

/// Captures the keys of one stream.
pub type KeyCapture = Capture<KeyColumn>;

/// Selection of Traffic's tables: the tables that are carried to Landing.
pub struct TrafficTables {
    pub schema: String,
    pub tables: Vec<Table>,
}

/// A carried relation, with the position of the `id` column in a tuple.
pub struct KeyColumn {
    table: Table,
    at: usize,
}

impl ReplicatedRelation for KeyColumn {
    type Row = RowKey;
    type Tables = TrafficTables;

    /// # Errors
    /// Refused for a table whose replica identity does not contain `id`.
    fn announce(tables: &TrafficTables, relation: &Relation, _: &Announced<Self>) -> Result<Option<Self>> {
        let ours = *relation.namespace == *tables.schema;
        let Some(table) = Table::from_traffic_name(&relation.name).filter(|_| ours) else {
            tracing::warn!(table = %relation.name, "the publication on Traffic holds a table that is not replicated: ignored");
            return Ok(None);
        };
        let at = relation.columns.iter().position(|column| &*column.name == "id" && column.key);
        let at = at.filter(|_| relation.replica_identity != ReplicaIdentity::Nothing).ok_or_else(|| {
            let name = table.traffic_name();
            Error::refused(format!("the replica identity of {name} on Traffic does not contain `id`")).remedy(format!(
                "run on Traffic: ALTER TABLE {name} REPLICA IDENTITY DEFAULT (with a primary key on id); deletes that \
                 were made meanwhile are not known"
            ))
        })?;
        // The publication holds every replicated table; the configuration selects the tables that are
        // carried.
        Ok(tables.tables.contains(&table).then_some(KeyColumn { table, at }))
    }

    fn table(&self) -> Table {
        self.table
    }

    fn id(&self, tuple: &Tuple) -> Result<Uuid> {
        let id = match tuple.0.get(self.at) {
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        let name = self.table.traffic_name();
        id.ok_or_else(|| Error::internal(format!("replication stream: a row of {name} without its id")))
    }

    fn row(&self, new: Tuple, _: Option<OldTuple>) -> Result<RowKey> {
        Ok((self.table, self.id(&new)?))
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
