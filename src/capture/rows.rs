//! Captures whole rows of Landing's stream; pure.

use uuid::Uuid;

use super::framing::{Announced, Capture, ReplicatedRelation};
use super::layout::Layout;
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::Mapping;
use crate::model::budget::LONG_ROW;
use crate::model::change::{Row, Table};
use crate::model::names::Names;
use crate::pgoutput::{OldTuple, Relation, Tuple, Value};

/// Captures the rows of one stream.
pub type RowCapture = Capture<Layout>;

/// Selection of Landing's tables.
pub struct LandingTables {
    /// Schema and names of the replicated tables. A table of another schema is not replicated, even if the
    /// names are equal.
    names: Names,
    tables: Vec<Table>,
    published: Published,
    /// The mapping of `published`.
    mapping: Mapping,
}

impl LandingTables {
    /// `published`: relations and columns of the replicated tables at the time of the initial copy.
    pub fn new(names: Names, tables: Vec<Table>, published: Published) -> Self {
        let mapping = published.mapping();
        LandingTables { names, tables, published, mapping }
    }

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
        Err(Error::refused(what).remedy(message!("capture-remedy-renamed")))
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
        let layout = Layout::bind(tables.mapping.of(table), relation)?;
        let before = known.earlier(table);
        let news =
            layout.unknown.iter().filter(|name| before.is_none_or(|before| !before.unknown.contains(name)));
        for column in news {
            tracing::warn!(
                table = %relation.name,
                column,
                "a column of Landing is not replicated; see `leadbridge doctor`"
            );
        }
        Ok(Some(layout))
    }

    fn table(&self) -> Table {
        Layout::table(self)
    }

    fn id(&self, tuple: &Tuple) -> Result<Uuid> {
        Layout::id(self, tuple)
    }

    fn row(&self, new: Tuple, old: Option<OldTuple>) -> Result<Row> {
        let sent = size(&new) + old.as_ref().map_or(0, |old| size(old.tuple()));
        let mut row = Layout::row(self, new)?;
        // With replica identity full the stream sends the old row, and the old row holds the unchanged TOAST
        // values.
        if let Some(OldTuple::Full(old)) = old {
            row.fill_unchanged_from(&Layout::row(self, old)?);
        }
        // The row's values are slices of the message. Where they are the smaller part of a long message, they
        // leave the message, so that the row's size tells what the row keeps in memory.
        if sent >= LONG_ROW / 2 && row.size() < sent / 2 {
            row.leave_message();
        }
        Ok(row)
    }
}

/// Bytes of a tuple's texts.
fn size(tuple: &Tuple) -> usize {
    tuple.0.iter().map(|value| if let Value::Text(text) = value { text.len() } else { 0 }).sum()
}
