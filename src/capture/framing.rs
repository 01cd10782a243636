//! Transactions, positions and relations in a stream of either direction; pure. The only module with state
//! about the stream: the announced relations, and whether a transaction is open.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::change::{Change, Operation, Origin, Position, SourcedChange, Table};
use crate::model::lsn::Lsn;
use crate::model::timestamp::Timestamp;
use crate::pgoutput::{self, Message, OldTuple, Relation, ReplicationEvent, Tuple};

/// Prefix of the logical messages that are markers. A marker's content is a UUID as text.
pub const MARKER_PREFIX: &str = "leadbridge";

/// An event of the stream that leadbridge acts on. `R` is the content of a written row.
#[derive(Debug, PartialEq, Eq)]
pub enum Captured<R> {
    Begin(Origin),
    Change(SourcedChange<R>),
    /// End of the transaction of the preceding changes.
    Commit(Position),
    /// A keepalive between transactions: the slot has no further change before this position.
    Idle(Position),
    /// A marker of a cutover or a rollback, between transactions: every change committed before the marker
    /// has been sent.
    Marker {
        id: Uuid,
        at: Position,
    },
}

/// A relation whose changes are replicated, and its rows in the stream's tuples.
pub trait ReplicatedRelation: Sized {
    /// Content of a written row.
    type Row;
    /// Selection of the replicated tables.
    type Tables;

    /// `None` for a table that is not replicated.
    ///
    /// # Errors
    /// A table that changed in a way that could lose data.
    fn announce(tables: &Self::Tables, relation: &Relation, known: &Announced<Self>) -> Result<Option<Self>>;

    fn table(&self) -> Table;

    /// The primary key in a tuple; the other columns of a key tuple are null.
    fn id(&self, tuple: &Tuple) -> Result<Uuid>;

    /// The primary key that an update has changed.
    fn changed_key(&self, old: &Tuple, new: &Tuple) -> Result<Option<Uuid>> {
        let (old, new) = (self.id(old)?, self.id(new)?);
        Ok((old != new).then_some(old))
    }

    fn row(&self, new: Tuple, old: Option<OldTuple>) -> Result<Self::Row>;
}

/// Relations that the stream has announced, by OID; `None` for a table that is not replicated.
pub struct Announced<R>(HashMap<u32, Option<R>>);

impl<R: ReplicatedRelation> Announced<R> {
    /// `None` for a table that is not replicated.
    fn relation(&self, oid: u32) -> Result<Option<&R>> {
        let never = || Error::internal(format!("replication stream: relation {oid} was never announced"));
        self.0.get(&oid).map(Option::as_ref).ok_or_else(never)
    }

    /// A relation of `table` that was announced earlier.
    pub(super) fn earlier(&self, table: Table) -> Option<&R> {
        self.0.values().flatten().find(|known| known.table() == table)
    }

    fn tables(&self, oids: &[u32]) -> Result<Vec<Table>> {
        let mut tables = Vec::new();
        for &oid in oids {
            tables.extend(self.relation(oid)?.map(R::table));
        }
        Ok(tables)
    }
}

/// Decodes one replication stream.
pub struct Capture<R: ReplicatedRelation> {
    tables: R::Tables,
    relations: Announced<R>,
    /// Set from Begin to Commit.
    transaction: Option<Origin>,
    /// Latest time of the source's clock in the stream.
    clock: Timestamp,
}

impl<R: ReplicatedRelation> Capture<R> {
    pub fn new(tables: R::Tables) -> Self {
        let relations = Announced(HashMap::new());
        Capture { tables, relations, transaction: None, clock: Timestamp::default() }
    }

    /// Decodes an event; `None` when the event needs no action.
    ///
    /// # Errors
    /// Bytes that do not decode, a row outside a transaction, a table that changed in a way that could lose
    /// data.
    pub fn event(&mut self, event: ReplicationEvent) -> Result<Option<Captured<R::Row>>> {
        match event {
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                let commit_time = Timestamp(commit_time_micros);
                let origin = Origin { xid: Some(xid), commit_lsn: final_lsn, commit_time };
                self.transaction = Some(origin);
                Ok(Some(Captured::Begin(origin)))
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
                let Some(change) = self.change(message).map_err(|error| error.at(at))? else {
                    return Ok(None);
                };
                let outside = || Error::internal("replication stream: a row outside a transaction");
                let origin = self.transaction.ok_or_else(outside)?;
                Ok(Some(Captured::Change(SourcedChange { origin, change })))
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

    /// The change in a message; `None` for a message without a change of a replicated table.
    pub(super) fn change(&mut self, message: Message) -> Result<Option<Change<R::Row>>> {
        let (relation, operation, new, old) = match message {
            Message::Insert { relation, new } => (relation, Operation::Insert, new, None),
            Message::Update { relation, old, new } => (relation, Operation::Update, new, old),
            Message::Delete { relation, old } => {
                let Some(relation) = self.relations.relation(relation)? else { return Ok(None) };
                return Ok(Some(Change::Delete { table: relation.table(), id: relation.id(old.tuple())? }));
            }
            Message::Truncate { relations } => {
                let tables = self.relations.tables(&relations)?;
                return Ok((!tables.is_empty()).then_some(Change::Truncate { tables }));
            }
            Message::Relation(relation) => {
                let announced = R::announce(&self.tables, &relation, &self.relations)?;
                self.relations.0.insert(relation.id, announced);
                return Ok(None);
            }
            Message::Announcement => return Ok(None),
        };
        let Some(relation) = self.relations.relation(relation)? else { return Ok(None) };
        let old_id = match &old {
            Some(old) => relation.changed_key(old.tuple(), &new)?,
            None => None,
        };
        Ok(Some(Change::Write { operation, row: relation.row(new, old)?, old_id }))
    }
}
