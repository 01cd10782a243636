//! Turns replication events into changes; pure. The only module with state about the stream: the announced
//! relations, and whether a transaction is open.

use std::collections::HashMap;

use uuid::Uuid;

use super::layout::Layout;
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::model::change::{Change, Operation, Origin, Position, SourcedChange, Table};
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;
use crate::pgoutput::{self, Message, OldTuple, Relation, ReplicationEvent, Tuple};

/// Prefix of the logical messages that are markers. A marker's content is a UUID as text.
pub const MARKER_PREFIX: &str = "leadbridge";

/// An event of the stream that leadbridge acts on.
#[derive(Debug, PartialEq, Eq)]
pub enum Captured {
    Change(SourcedChange),
    /// End of the transaction of the preceding changes.
    Commit(Position),
    /// A keepalive between transactions: the slot has no further change before this position.
    Idle(Position),
    /// A marker of a cutover, between transactions: every change committed before the marker has been sent.
    Marker {
        id: Uuid,
        at: Position,
    },
}

/// Decodes one replication stream.
pub struct Capture {
    /// Schema of the replicated tables. A table of another schema is not replicated, even if the names are
    /// equal.
    schema: String,
    tables: Vec<Table>,
    /// Relations of the replicated tables at the time of the initial copy.
    published: Published,
    relations: HashMap<u32, Option<Layout>>,
    /// Set from Begin to Commit.
    transaction: Option<Origin>,
    /// Latest time of Landing's clock in the stream.
    clock: Timestamp,
}

impl Capture {
    pub fn new(schema: &str, tables: &[Table], published: Published) -> Self {
        Capture {
            schema: schema.to_owned(),
            tables: tables.to_owned(),
            published,
            relations: HashMap::new(),
            transaction: None,
            clock: Timestamp::default(),
        }
    }

    /// Decodes an event; `None` when the event needs no action.
    ///
    /// # Errors
    /// Bytes that do not decode, a row outside a transaction, a table that changed in a way that could lose
    /// data.
    pub fn event(&mut self, event: ReplicationEvent) -> Result<Option<Captured>> {
        match event {
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                let commit_time = Timestamp(commit_time_micros);
                let origin = Origin { xid: Some(xid), commit_lsn: final_lsn, commit_time };
                self.transaction = Some(origin);
                Ok(None)
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros } => {
                self.transaction = None;
                let at = Timestamp(commit_time_micros);
                self.clock = self.clock.max(at);
                let end = Position { lsn: end_lsn, commit_time: Some(at), caught_up_at: at };
                Ok(Some(Captured::Commit(end)))
            }
            // Inside a transaction a keepalive may already be ahead of the transaction's commit, so the
            // position is ignored.
            ReplicationEvent::KeepAlive { wal_end, server_time_micros, .. } => {
                let at = Timestamp(server_time_micros);
                self.clock = self.clock.max(at);
                let idle = Position { lsn: wal_end, commit_time: None, caught_up_at: at };
                Ok((self.transaction.is_none() && idle.lsn > Lsn::ZERO).then_some(Captured::Idle(idle)))
            }
            ReplicationEvent::XLogData { data } => {
                let message = pgoutput::decode(data)
                    .map_err(|error| Error::internal(format!("replication stream: {error}")))?;
                let at = self.transaction.map(|origin| origin.commit_lsn);
                self.message(message).map_err(|error| error.at(at))
            }
            ReplicationEvent::Message { transactional: false, lsn, prefix, content }
                if prefix == MARKER_PREFIX =>
            {
                // PostgreSQL sends a non-transactional message when decoding reaches the message, never
                // within a transaction.
                let at = Position { lsn, commit_time: None, caught_up_at: self.clock };
                let id = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
                Ok(id.map(|id| Captured::Marker { id, at }))
            }
            ReplicationEvent::Message { .. } => Ok(None),
        }
    }

    fn message(&mut self, message: Message) -> Result<Option<Captured>> {
        let change = match message {
            Message::Relation(relation) => return self.relation(&relation).map(|()| None),
            Message::Announcement => return Ok(None),
            Message::Insert { relation, new } => self
                .layout(relation)?
                .map(|layout| write(layout, Operation::Insert, new, None))
                .transpose()?,
            Message::Update { relation, old, new } => {
                self.layout(relation)?.map(|layout| write(layout, Operation::Update, new, old)).transpose()?
            }
            Message::Delete { relation, old } => {
                self.layout(relation)?.map(|layout| delete(layout, &old)).transpose()?
            }
            Message::Truncate { relations } => self.truncate(&relations)?,
        };
        let Some(change) = change else { return Ok(None) };
        let origin = self
            .transaction
            .ok_or_else(|| Error::internal("replication stream: a row outside a transaction"))?;
        Ok(Some(Captured::Change(SourcedChange { origin, change })))
    }

    fn relation(&mut self, relation: &Relation) -> Result<()> {
        let ours = *relation.namespace == *self.schema;
        let table =
            Table::from_landing_name(&relation.name).filter(|table| ours && self.tables.contains(table));
        self.check_relation(relation, table)?;
        let layout = match table {
            Some(table) => Some(self.announced(table, relation)?),
            None => {
                tracing::warn!(table = %relation.name, "the publication holds a table that is not replicated: ignored");
                None
            }
        };
        self.relations.insert(relation.id, layout);
        Ok(())
    }

    /// Refuses a renamed or replaced table. A table that was renamed away sends changes under another name,
    /// perhaps only for a while; the table that took the old name was never copied.
    fn check_relation(&self, relation: &Relation, table: Option<Table>) -> Result<()> {
        let what = match (table, self.published.table_of(relation.id)) {
            (None, Some(name)) => format!("{name} was renamed or moved on Landing while it was replicated"),
            (Some(table), None) if self.published.relation(table).is_some() => {
                format!("{} on Landing is another table than the one that was copied", table.landing_name())
            }
            _ => return Ok(()),
        };
        Err(Error::refused(what).remedy(
            "bring the table back under its name, then run `leadbridge resync`; no row that was written since \
             was applied",
        ))
    }

    fn announced(&self, table: Table, relation: &Relation) -> Result<Layout> {
        let layout = Layout::bind(table, relation)?;
        let before = self.relations.values().flatten().find(|known| known.table == table);
        if let Some(before) = before {
            before.check_successor(&layout)?;
        }
        let news =
            layout.unknown.iter().filter(|name| before.is_none_or(|before| !before.unknown.contains(name)));
        for column in news {
            tracing::warn!(
                table = table.landing_name(),
                column,
                "a column that the mapping does not know: not replicated"
            );
        }
        Ok(layout)
    }

    /// `None` for a table that is not replicated.
    fn layout(&self, relation: u32) -> Result<Option<&Layout>> {
        match self.relations.get(&relation) {
            Some(layout) => Ok(layout.as_ref()),
            None => {
                Err(Error::internal(format!("replication stream: relation {relation} was never announced")))
            }
        }
    }

    fn truncate(&self, relations: &[u32]) -> Result<Option<Change>> {
        let mut tables = Vec::new();
        for &relation in relations {
            tables.extend(self.layout(relation)?.map(|layout| layout.table));
        }
        Ok((!tables.is_empty()).then_some(Change::Truncate { tables }))
    }
}

fn write(layout: &Layout, operation: Operation, new: Tuple, old: Option<OldTuple>) -> Result<Change> {
    let mut row = layout.row(new)?;
    let old_id = old.as_ref().map(|old| layout.id(old.tuple())).transpose()?.filter(|old| *old != row.id);
    // With replica identity full the stream sends the old row, and the old row holds the unchanged TOAST
    // values.
    if let Some(OldTuple::Full(old)) = old {
        row.fill_unchanged_from(&layout.row(old)?);
    }
    Ok(Change::Write { operation, row, old_id })
}

fn delete(layout: &Layout, old: &OldTuple) -> Result<Change> {
    Ok(Change::Delete { table: layout.table, id: layout.id(old.tuple())? })
}
