//! Captures the keys in Traffic's stream; pure. Values in the stream are ignored, because a row is read from
//! Traffic when the row is carried.

use std::collections::HashMap;

use uuid::Uuid;

use crate::capture::rows::MARKER_PREFIX;
use crate::error::{Error, Result};
use crate::model::change::{Position, Table};
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;
use crate::pgoutput::{self, Message, OldTuple, Relation, ReplicaIdentity, ReplicationEvent, Tuple, Value};

/// An event of the stream, with keys only.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    /// The transaction `xid` begins. `committed` is the commit time by Traffic's clock.
    Begin {
        xid: u32,
        committed: Timestamp,
    },
    /// A row was written. `old_id` is the former key of a row whose key changed.
    Written {
        table: Table,
        id: Uuid,
        old_id: Option<Uuid>,
    },
    Deleted {
        table: Table,
        id: Uuid,
    },
    Truncate(Vec<Table>),
    /// The transaction of the preceding changes ends here.
    Commit(Position),
    /// A keepalive between transactions: the stream has no further change for Landing before this position.
    Idle(Position),
    /// A rollback's marker, between transactions: the stream has sent everything that was committed before
    /// the marker.
    Marker {
        id: Uuid,
        at: Position,
    },
}

/// A relation's table and the index of the `id` column; `None` for a table that is not carried to Landing.
type Key = Option<(Table, usize)>;

/// Captures the keys of one stream.
pub struct KeyCapture {
    schema: String,
    tables: Vec<Table>,
    relations: HashMap<u32, Key>,
    in_transaction: bool,
    /// The latest time of Traffic's clock in the stream.
    clock: Timestamp,
}

impl KeyCapture {
    pub fn new(traffic_schema: &str, tables: &[Table]) -> Self {
        KeyCapture {
            schema: traffic_schema.to_owned(),
            tables: tables.to_owned(),
            relations: HashMap::new(),
            in_transaction: false,
            clock: Timestamp::default(),
        }
    }

    /// The keys of an event; `None` for an event without keys or position.
    ///
    /// # Errors
    /// Internal for bytes that do not decode and for a row without a key. Refused for a table whose replica
    /// identity does not contain `id`.
    pub fn event(&mut self, event: ReplicationEvent) -> Result<Option<Touched>> {
        Ok(match event {
            ReplicationEvent::Begin { xid, commit_time_micros, .. } => {
                self.in_transaction = true;
                Some(Touched::Begin { xid, committed: Timestamp(commit_time_micros) })
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros } => {
                self.in_transaction = false;
                let at = Timestamp(commit_time_micros);
                self.clock = self.clock.max(at);
                Some(Touched::Commit(Position { lsn: end_lsn, commit_time: Some(at), caught_up_at: at }))
            }
            // Inside a transaction a keepalive is ignored, because the keepalive's position may lie after the
            // commit.
            ReplicationEvent::KeepAlive { wal_end, server_time_micros, .. } => {
                let at = Timestamp(server_time_micros);
                self.clock = self.clock.max(at);
                let idle = Position { lsn: wal_end, commit_time: None, caught_up_at: at };
                (!self.in_transaction && idle.lsn > Lsn::ZERO).then_some(Touched::Idle(idle))
            }
            ReplicationEvent::XLogData { data } => {
                let message = pgoutput::decode(data)
                    .map_err(|error| Error::internal(format!("replication stream: {error}")))?;
                self.message(message)?
            }
            ReplicationEvent::Message { transactional: false, lsn, prefix, content }
                if prefix == MARKER_PREFIX =>
            {
                let at = Position { lsn, commit_time: None, caught_up_at: self.clock };
                let id = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
                id.map(|id| Touched::Marker { id, at })
            }
            ReplicationEvent::Message { .. } => None,
        })
    }

    fn message(&mut self, message: Message) -> Result<Option<Touched>> {
        match message {
            Message::Relation(relation) => self.relation(&relation).map(|()| None),
            Message::Announcement => Ok(None),
            Message::Insert { relation, new } => self.written(relation, &new, None),
            Message::Update { relation, old, new } => self.written(relation, &new, old.as_ref()),
            Message::Delete { relation, old } => {
                let row = self.row(relation, old.tuple())?;
                Ok(row.map(|(table, id)| Touched::Deleted { table, id }))
            }
            Message::Truncate { relations } => {
                let mut tables = Vec::new();
                for relation in relations {
                    tables.extend(self.key(relation)?.map(|(table, _)| table));
                }
                Ok((!tables.is_empty()).then_some(Touched::Truncate(tables)))
            }
        }
    }

    fn relation(&mut self, relation: &Relation) -> Result<()> {
        let table = Table::from_traffic_name(&relation.name).filter(|_| *relation.namespace == *self.schema);
        let Some(table) = table else {
            tracing::warn!(table = %relation.name, "the publication on Traffic holds a table that is not \
                                                    replicated: ignored");
            self.relations.insert(relation.id, None);
            return Ok(());
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
        let key = self.tables.contains(&table).then_some((table, at));
        self.relations.insert(relation.id, key);
        Ok(())
    }

    fn key(&self, relation: u32) -> Result<Key> {
        let never =
            || Error::internal(format!("replication stream: relation {relation} was never announced"));
        self.relations.get(&relation).copied().ok_or_else(never)
    }

    /// The table and key of a tuple's row; `None` for a table that is not carried.
    fn row(&self, relation: u32, tuple: &Tuple) -> Result<Option<(Table, Uuid)>> {
        let Some((table, at)) = self.key(relation)? else { return Ok(None) };
        let id = match tuple.0.get(at) {
            Some(Value::Text(text)) => text.parse::<Uuid>().ok(),
            _ => None,
        };
        let broken = || {
            Error::internal(format!("replication stream: a row of {} without its id", table.traffic_name()))
        };
        Ok(Some((table, id.ok_or_else(broken)?)))
    }

    fn written(&self, relation: u32, new: &Tuple, old: Option<&OldTuple>) -> Result<Option<Touched>> {
        let Some((table, id)) = self.row(relation, new)? else { return Ok(None) };
        let old = old.map(|old| self.row(relation, old.tuple())).transpose()?.flatten();
        let old_id = old.map(|(_, old_id)| old_id).filter(|old_id| *old_id != id);
        Ok(Some(Touched::Written { table, id, old_id }))
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
