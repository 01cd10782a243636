//! Captures whole rows of Landing's stream; pure.

use uuid::Uuid;

use super::framing::{Announced, Capture, ReplicatedRelation};
use super::layout::Layout;
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::model::change::{Row, Table};
use crate::model::names::{JOURNEY_NAMES, Names};
use crate::pgoutput::{OldTuple, Relation, Tuple};

/// Captures the rows of one stream.
pub type RowCapture = Capture<Layout>;

/// Selection of Landing's tables.
pub struct LandingTables {
    /// Schema and names of the replicated tables. A table of another schema is not replicated, even if the
    /// names are equal.
    pub names: Names,
    pub tables: Vec<Table>,
    /// Relations of the replicated tables at the time of the initial copy.
    pub published: Published,
}

impl LandingTables {
    fn table(&self, relation: &Relation) -> Option<Table> {
        let ours = *relation.namespace == *self.names.landing_schema;
        self.names.from_landing_name(&relation.name).filter(|table| ours && self.tables.contains(table))
    }

    /// Refuses a renamed or replaced table. A table that was renamed away sends changes under another name,
    /// perhaps only for a while; the table that took the old name was never copied.
    fn check_relation(&self, relation: &Relation, table: Option<Table>) -> Result<()> {
        let what = match (table, self.published.table_of(relation.id)) {
            (None, Some(name)) => format!("{name} was renamed or moved on Landing while it was replicated"),
            (Some(table), None) if self.published.relation(table).is_some() => {
                format!("{} on Landing is another table than the one that was copied", relation.name)
            }
            _ => return Ok(()),
        };
        let or_keep = match JOURNEY_NAMES.contains(&&*relation.name) {
            true => ", or let it keep its new name and run `leadbridge migrate`",
            false => "",
        };
        Err(Error::refused(what).remedy(format!(
            "bring the table back under its name{or_keep}; then run `leadbridge resync`: no row that was written \
             since was applied"
        )))
    }
}

impl ReplicatedRelation for Layout {
    type Row = Row;
    type Tables = LandingTables;

    fn announce(
        tables: &LandingTables,
        relation: &Relation,
        known: &Announced<Self>,
    ) -> Result<Option<Self>> {
        let table = tables.table(relation);
        tables.check_relation(relation, table)?;
        let Some(table) = table else {
            tracing::warn!(table = %relation.name, "the publication holds a table that is not replicated: ignored");
            return Ok(None);
        };
        let layout = Layout::bind(table, relation)?;
        let before = known.earlier(table);
        if let Some(before) = before {
            before.check_successor(&layout)?;
        }
        let news =
            layout.unknown.iter().filter(|name| before.is_none_or(|before| !before.unknown.contains(name)));
        for column in news {
            tracing::warn!(
                table = %relation.name,
                column,
                "a column that the mapping does not know: not replicated"
            );
        }
        Ok(Some(layout))
    }

    fn table(&self) -> Table {
        self.table
    }

    fn id(&self, tuple: &Tuple) -> Result<Uuid> {
        Layout::id(self, tuple)
    }

    fn row(&self, new: Tuple, old: Option<OldTuple>) -> Result<Row> {
        let mut row = Layout::row(self, new)?;
        // With replica identity full the stream sends the old row, and the old row holds the unchanged TOAST
        // values.
        if let Some(OldTuple::Full(old)) = old {
            row.fill_unchanged_from(&Layout::row(self, old)?);
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::PublishedTable;
    use crate::pgoutput::ReplicaIdentity;

    #[test]
    fn a_renamed_journey_may_keep_its_new_name_if_the_name_is_a_known_one() {
        let journey = PublishedTable {
            name: "lead_journey".into(),
            relation: 7,
            membership: 8,
            storage: 7,
            columns: Default::default(),
        };
        let published =
            Published { publication: None, tables: [("lead_journey".to_owned(), journey)].into() };
        let tables = LandingTables { names: Names::default(), tables: Table::ALL.to_vec(), published };
        for (name, may_keep) in [("journey_stages", true), ("elsewhere", false)] {
            let relation = Relation {
                id: 7,
                namespace: "public".into(),
                name: name.into(),
                replica_identity: ReplicaIdentity::Default,
                columns: Vec::new(),
            };
            let error = tables.check_relation(&relation, tables.table(&relation)).unwrap_err();
            assert!(error.message().starts_with("lead_journey was renamed"), "{error}");
            assert_eq!(error.remedy_text().unwrap().contains("leadbridge migrate"), may_keep, "{error}");
        }
    }
}
