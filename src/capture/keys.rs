//! Captures the keys in Traffic's stream; pure. Values in the stream are ignored, because a row is read from
//! Traffic when the row is carried.

use uuid::Uuid;

use super::framing::{Announced, Capture, ReplicatedRelation};
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::{RowKey, Table};
use crate::pgoutput::{OldTuple, Relation, RelationColumn, ReplicaIdentity, Tuple, Value};

/// Captures the keys of one stream.
pub type KeyCapture = Capture<KeyColumn>;

/// Selection of Traffic's tables: the tables that are carried to Landing.
pub struct TrafficTables {
    pub schema: String,
    pub tables: Vec<Table>,
}

/// A carried relation, with the positions of columns in a tuple.
pub struct KeyColumn {
    table: Table,
    /// The column `id`.
    at: usize,
    /// The columns `landing_synced_at` and `landing_lead` of a lead, which say whether the lead flows to Landing
    /// (`traffic::flowing`).
    flowing: Option<(usize, usize)>,
}

impl KeyColumn {
    /// Whether Traffic's own code made the lead, so that Landing does not have the lead.
    fn stays(&self, lead: &Tuple) -> bool {
        let Some((synced_at, born)) = self.flowing else { return false };
        let is_born = |value: &Value| matches!(value, Value::Text(text) if **text == *"t");
        matches!(lead.0.get(synced_at), Some(Value::Null)) && !lead.0.get(born).is_some_and(is_born)
    }
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
            Error::refused(format!("the replica identity of {name} on Traffic does not contain `id`"))
                .remedy(message!("capture-remedy-identity-on-traffic", name = name))
        })?;
        let of_lead = |name: &str| {
            let is_named = |column: &RelationColumn| *column.name == *name;
            (table == Table::LandingLeads).then(|| relation.columns.iter().position(is_named)).flatten()
        };
        let flowing = of_lead("landing_synced_at").zip(of_lead("landing_lead"));
        // The publication holds every replicated table; the configuration selects the tables that are
        // carried.
        Ok(tables.tables.contains(&table).then_some(KeyColumn { table, at, flowing }))
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

    /// A lead that stays on Traffic has no key on Landing that could change: a lead of Landing's with this key is
    /// another lead.
    fn changed_key(&self, old: &Tuple, new: &Tuple) -> Result<Option<Uuid>> {
        let (old, new_id) = (self.id(old)?, self.id(new)?);
        Ok((old != new_id && !self.stays(new)).then_some(old))
    }

    fn row(&self, new: Tuple, _: Option<OldTuple>) -> Result<RowKey> {
        Ok((self.table, self.id(&new)?))
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
