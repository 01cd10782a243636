//! Positions of the columns that the mapping reads in a Landing table; pure.
//!
//! Databases differ: columns stand in any order, older databases lack some columns, newer databases have
//! more. A [`Layout`] is made from a `Relation` message, or from the catalog. Making a layout refuses a table
//! from which data could be lost.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::language::{Message, message};
use crate::mapping::TableMapping;
use crate::model::change::{Column, Datum, Row, Table};
use crate::pgoutput::{Relation, ReplicaIdentity, Tuple, Value};

/// Consequence of a table's change for a running stream.
fn meanwhile() -> Message {
    message!("capture-remedy-meanwhile")
}

/// A table's column positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The table's name on Landing, for messages.
    pub name: String,
    pub mapping: Arc<TableMapping>,
    /// For each of [`TableMapping::columns`] the column of a tuple; `None` for a column that this database
    /// lacks.
    columns: Box<[Option<TupleColumn>]>,
    /// Columns in a tuple.
    width: usize,
    /// Columns that the mapping does not carry.
    pub unknown: Vec<String>,
}

/// A column of a relation's tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TupleColumn {
    position: usize,
    type_oid: u32,
}

impl Layout {
    /// # Errors
    /// A column that the mapping carries is missing or of another type, or the replica identity does not name
    /// the row of an update.
    pub fn bind(mapping: &Arc<TableMapping>, relation: &Relation) -> Result<Self> {
        let named =
            relation.columns.iter().enumerate().map(|(position, column)| {
                (&*column.name, TupleColumn { position, type_oid: column.type_oid })
            });
        let by_name: HashMap<&str, TupleColumn> = named.collect();
        let mut columns = vec![None; mapping.columns().len()];
        for (at, column) in mapping.present() {
            let found = by_name.get(&*column.name).copied();
            check_column(relation, column, found.map(|column| column.type_oid))?;
            if let Some(place) = columns.get_mut(at) {
                *place = found;
            }
        }
        let is_carried = |name: &str| mapping.present().any(|(_, column)| column.name == name);
        let names = relation.columns.iter().map(|column| column.name.to_string());
        let layout = Layout {
            name: relation.name.to_string(),
            mapping: Arc::clone(mapping),
            columns: columns.into(),
            width: relation.columns.len(),
            unknown: names.filter(|name| !is_carried(name)).collect(),
        };
        layout.check_identity(relation)?;
        Ok(layout)
    }

    pub fn table(&self) -> Table {
        self.mapping.table
    }

    fn check_identity(&self, relation: &Relation) -> Result<()> {
        let id_is_key = self.position(0).and_then(|at| relation.columns.get(at)).is_some_and(|id| id.key);
        if id_is_key && relation.replica_identity != ReplicaIdentity::Nothing {
            return Ok(());
        }
        let name = &self.name;
        Err(Error::refused(format!("the replica identity of {name} on Landing does not contain `id`"))
            .remedy(message!("capture-remedy-identity", name = name, meanwhile = meanwhile())))
    }

    fn position(&self, column: usize) -> Option<usize> {
        self.columns.get(column).copied().flatten().map(|column| column.position)
    }

    /// For each of [`TableMapping::columns`] the OID of the type that this database has; `None` for a column
    /// that this database lacks.
    pub fn type_oids(&self) -> impl Iterator<Item = Option<u32>> {
        self.columns.iter().map(|column| column.map(|column| column.type_oid))
    }

    /// The row held by a tuple of this relation.
    ///
    /// # Errors
    /// A tuple of another width, or an id that is not a UUID: the server broke the protocol.
    pub fn row(&self, mut tuple: Tuple) -> Result<Row> {
        let id = self.id(&tuple)?;
        // No two columns share a position, so each value can be moved out of the tuple.
        let datum =
            |column: &Option<TupleColumn>| match column.and_then(|column| tuple.0.get_mut(column.position)) {
                None => Datum::Null,
                Some(value) => match std::mem::replace(value, Value::Null) {
                    Value::Null => Datum::Null,
                    Value::Unchanged => Datum::Unchanged,
                    Value::Text(text) => Datum::Text(text),
                },
            };
        Ok(Row { table: self.table(), id, values: self.columns.iter().map(datum).collect() })
    }

    /// The primary key in a tuple; the other columns of a key tuple are null.
    pub fn id(&self, tuple: &Tuple) -> Result<Uuid> {
        if tuple.0.len() != self.width {
            return Err(self.broken(format!("a tuple has {} columns, not {}", tuple.0.len(), self.width)));
        }
        match self.position(0).and_then(|at| tuple.0.get(at)) {
            Some(Value::Text(text)) => text.parse().map_err(|_| self.broken("an id is no UUID".into())),
            _ => Err(self.broken("a tuple has no id".into())),
        }
    }

    fn broken(&self, what: String) -> Error {
        Error::internal(format!("replication stream of {}: {what}", self.name))
    }
}

fn check_column(relation: &Relation, expected: &Column, found: Option<u32>) -> Result<()> {
    let place = format!("column {}.{} on Landing", relation.name, expected.name);
    match found {
        None if expected.required => Err(Error::refused(format!("{place} is missing"))
            .remedy(message!("capture-remedy-needed", meanwhile = meanwhile()))),
        None => Err(Error::refused(format!("{place} was dropped or renamed while it was replicated"))
            .remedy(message!("capture-remedy-dropped"))),
        Some(type_oid) if !expected.is_passthrough && !expected.kind.accepts(type_oid) => {
            Err(Error::refused(format!(
                "{place} has the type with OID {type_oid}, not {}",
                expected.kind.accepted_names()
            ))
            .remedy(message!("capture-remedy-type", meanwhile = meanwhile())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;
    use crate::pgoutput::RelationColumn;

    fn relation(columns: &[(&str, u32)]) -> Relation {
        let column = |(at, (name, oid)): (usize, &(&str, u32))| RelationColumn {
            key: at == 0,
            name: (*name).into(),
            type_oid: *oid,
        };
        Relation {
            id: 1,
            namespace: "public".into(),
            name: "lead_journey".into(),
            replica_identity: ReplicaIdentity::Default,
            columns: columns.iter().enumerate().map(column).collect(),
        }
    }

    const JOURNEY: [(&str, u32); 6] = [
        ("id", 2950),
        ("created_at", 1184),
        ("metadata", 3802),
        ("stage", 25),
        ("source", 25),
        ("lead_id", 2950),
    ];

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let layout = Layout::bind(Mapping::whole().of(Table::LeadJourney), &relation(&JOURNEY)).unwrap();
        let id = "00000000-0000-0000-0000-000000000007";
        let text = |text: &str| Value::Text(text.into());
        let tuple = Tuple(vec![text(id), text("t"), Value::Unchanged, text("s"), Value::Null, text(id)]);
        let row = layout.row(tuple).unwrap();
        assert_eq!(row.values[crate::model::change::journey::STAGE], Datum::text("s"));
        assert_eq!(row.values[crate::model::change::journey::METADATA], Datum::Unchanged);
        assert_eq!(row.lead_id(), Some(row.id));
        assert!(layout.row(Tuple(vec![text(id)])).is_err());
    }

    #[test]
    fn a_needed_column_missing_or_of_another_type_is_refused_by_name() {
        let missing: Vec<_> = JOURNEY.iter().copied().filter(|(name, _)| *name != "stage").collect();
        let error = Layout::bind(Mapping::whole().of(Table::LeadJourney), &relation(&missing)).unwrap_err();
        assert!(error.message().contains("lead_journey.stage"), "{error}");
        let retyped: Vec<_> =
            JOURNEY.iter().map(|&(n, oid)| (n, if n == "stage" { 23 } else { oid })).collect();
        let error = Layout::bind(Mapping::whole().of(Table::LeadJourney), &relation(&retyped)).unwrap_err();
        assert!(error.message().contains("lead_journey.stage"), "{error}");
    }

    #[test]
    fn a_column_the_mapping_does_not_carry_is_named_and_passed_over() {
        let more: Vec<_> = JOURNEY.iter().copied().chain([("score", 23)]).collect();
        let layout = Layout::bind(Mapping::whole().of(Table::LeadJourney), &relation(&more)).unwrap();
        assert_eq!(layout.unknown, ["score"]);
    }

    #[test]
    fn without_id_in_the_replica_identity_nothing_is_replicated() {
        let mut nothing = relation(&JOURNEY);
        nothing.replica_identity = ReplicaIdentity::Nothing;
        assert!(Layout::bind(Mapping::whole().of(Table::LeadJourney), &nothing).is_err());
        let mut other = relation(&JOURNEY);
        other.columns[0].key = false;
        assert!(Layout::bind(Mapping::whole().of(Table::LeadJourney), &other).is_err());
    }

    #[test]
    fn an_optional_column_may_be_absent_but_not_disappear() {
        let needed: Vec<_> = Table::LandingLeads.columns().iter().filter(|column| column.required).collect();
        let oid = |column: &Column| column.kind.accepted()[0].0;
        let old: Vec<_> = needed.iter().map(|column| (&*column.name, oid(column))).collect();
        let new: Vec<_> = old.iter().copied().chain([("click_count", 23)]).collect();
        let has = |name: &str| new.iter().any(|(known, _)| *known == name);
        let mapping = Arc::new(TableMapping::new(Table::LandingLeads, has, &[]));
        let layout = Layout::bind(&mapping, &relation(&new)).unwrap();
        assert_eq!(layout.mapping.absent().count(), Table::LandingLeads.columns().len() - new.len());
        let error = Layout::bind(&mapping, &relation(&old)).unwrap_err();
        assert!(error.message().contains("click_count"), "{error}");
    }
}
