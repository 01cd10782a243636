//! Replication events turned into changes; pure, and the only place that knows the state of the stream:
//! which relations were announced, and whether a transaction is open.

use std::collections::HashMap;

use uuid::Uuid;

use super::layout::Layout;
use crate::change::{Change, Operation, Origin, Position, SourcedChange, Table};
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::pgoutput::{self, Message, OldTuple, Relation, ReplicationEvent, Tuple};
use crate::timestamp::Timestamp;

/// The prefix of the messages that are markers; their content is a UUID as text.
pub const MARKER_PREFIX: &str = "leadbridge";

/// What the stream says.
#[derive(Debug, PartialEq, Eq)]
pub enum Captured {
    Change(SourcedChange),
    /// The transaction of the changes before ends here.
    Commit(Position),
    /// A keepalive between transactions: Landing has nothing for us up to here.
    Idle(Position),
    /// A message of a cutover, between transactions: what was committed before it has been said.
    Marker {
        id: Uuid,
        at: Position,
    },
}

/// Follows one replication stream.
pub struct Capture {
    /// The schema of the replicated tables; tables elsewhere are not ours, whatever their name.
    schema: String,
    tables: Vec<Table>,
    /// Which relations they were when the rows were copied.
    published: Published,
    relations: HashMap<u32, Option<Layout>>,
    /// Set from Begin to Commit.
    transaction: Option<Origin>,
    /// Landing's clock when it last said it.
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

    /// What an event means for us; `None` when nothing.
    ///
    /// # Errors
    /// Bytes that do not decode, a row outside a transaction, a table that changed in a way that could lose data.
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
            // Inside a transaction a keepalive may already be ahead of its commit: it says nothing for us.
            ReplicationEvent::KeepAlive { wal_end, server_time_micros, .. } => {
                let at = Timestamp(server_time_micros);
                self.clock = self.clock.max(at);
                let idle = Position { lsn: wal_end, commit_time: None, caught_up_at: at };
                Ok((self.transaction.is_none() && idle.lsn > Lsn::ZERO).then_some(Captured::Idle(idle)))
            }
            ReplicationEvent::XLogData { data } => {
                let message = pgoutput::decode(data)
                    .map_err(|error| Error::internal(format!("replication stream: {error}")))?;
                self.message(message)
            }
            ReplicationEvent::Message { transactional: false, lsn, prefix, content }
                if prefix == MARKER_PREFIX =>
            {
                // PostgreSQL sends it as soon as it decodes it, which is never within a transaction.
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

    /// A table that is renamed away sends its changes under another name, for a while perhaps; one that took its
    /// name was never copied.
    fn check_relation(&self, relation: &Relation, table: Option<Table>) -> Result<()> {
        let what = match (table, self.published.table_of(relation.id)) {
            (None, Some(name)) => format!("{name} was renamed or moved on Landing while it was replicated"),
            (Some(table), None) if self.published.relation(table).is_some() => {
                format!("{} on Landing is another table than the one that was copied", table.landing_name())
            }
            _ => return Ok(()),
        };
        Err(Error::refused(what).remedy(
            "bring the table back under its name, then run `leadbridge resync`; nothing of what was written \
             meanwhile was applied",
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

    /// `None` for a table that is not ours.
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
    // With replica identity full the old row is here, and with it what the new one left out.
    if let Some(OldTuple::Full(old)) = old {
        row.fill_unchanged_from(&layout.row(old)?);
    }
    Ok(Change::Write { operation, row, old_id })
}

fn delete(layout: &Layout, old: &OldTuple) -> Result<Change> {
    Ok(Change::Delete { table: layout.table, id: layout.id(old.tuple())? })
}
