//! The one session that writes to Traffic: its transaction, prepared statements, and what it knows of
//! quarantine and notes. The strategies of the other files (upsert, COPY, partial update, changed key, delete,
//! set) are given the writer.
//!
//! A Traffic transaction begins with its first batch. The batch that ends at a commit boundary commits the
//! transaction, together with the checkpoint. After any error except a bad row the caller must drop the
//! session: changes without a commit never happened, and the next attempt continues from the position on
//! Traffic.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Statement;
use uuid::Uuid;

use super::catalog::TargetCatalog;
use super::copying::CopyStrategy;
use super::deletes;
use super::statements::{self, TargetTable, Touch};
use super::upserts::Mapped;
use crate::batch::Write;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::language::message;
use crate::mapping::{Mapping, TableMapping};
use crate::model::change::{Row, Table};
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::truncate::OnTruncate;
use crate::postgres::prepared::LazyStatement;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::write::{CHECK_AND_DEFER, CHECK_DEFERRED, Savepoint, WriteSession};
use crate::postgres::{Database, Session, pipelined};
use crate::quarantine::notes::{Notes, Scope};
use crate::quarantine::rows::{Quarantine, Refusal, Refused};
use crate::quarantine::{Copies, RefusalCause};

/// Undoes a whole batch.
pub(super) const BATCH: Savepoint = Savepoint(Side::Traffic, "batch");

/// Undoes everything after the last good range.
pub(super) const RANGE: Savepoint = Savepoint(Side::Traffic, "range");

/// Rows read from Landing, for changes whose row was missing on Traffic; `None` for a row gone from Landing
/// too.
pub type Supplied = HashMap<(Table, Uuid), Option<Row>>;

/// Number of rows by result, for the batches applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub written: u64,
    /// Rows equal on Traffic already.
    pub unchanged: u64,
    pub deleted: u64,
    pub quarantined: u64,
}

impl RowCounts {
    /// What was counted after `before`.
    pub fn since(self, before: RowCounts) -> Self {
        RowCounts {
            written: self.written - before.written,
            unchanged: self.unchanged - before.unchanged,
            deleted: self.deleted - before.deleted,
            quarantined: self.quarantined - before.quarantined,
        }
    }
}

/// What a writer writes, and how.
#[derive(Clone, Copy)]
pub struct WriterSettings<'s> {
    /// A column of Traffic whose Landing column the mapping lacks keeps its values, because the column belongs
    /// to Traffic.
    pub mapping: &'s Mapping,
    pub tables: &'s [Table],
    pub touch: Touch,
    pub on_truncate: OnTruncate,
}

/// The statements for one table.
struct Statements {
    upsert: Statement,
    /// [`TargetTable::differing`].
    differing: LazyStatement,
    delete: LazyStatement,
    read: LazyStatement,
}

/// Rows of one table that Traffic has as Landing has them, written or deleted.
pub(super) struct Arrived<'r> {
    pub(super) table: Table,
    pub(super) ids: &'r [Uuid],
    /// The rows that may have old notes.
    pub(super) noted: &'r [Uuid],
    /// Every row with new notes, at least.
    pub(super) rows: &'r [&'r Mapped],
    pub(super) are_deleted: bool,
}

/// Applies batches to Traffic.
pub struct Writer {
    pub(super) session: WriteSession,
    pub(super) names: Names,
    pub(super) catalog: TargetCatalog,
    pub(super) copying: CopyStrategy,
    pub(super) quarantine: Quarantine,
    pub(super) notes: Notes,
    pub(super) copies: Copies,
    /// Whether `quarantine` may hold rows. True for an empty table costs a query or two; false for a table
    /// with rows would apply an older image. No other session makes false wrong, because only the holder of
    /// the lease adds rows, and a retry changes existing rows.
    pub(super) may_have_quarantined: bool,
    /// Whether this process knows of conversion notes. Use [`Writer::may_have_notes`], because a retry writes
    /// notes too.
    pub(super) has_noted: bool,
    pub(super) on_truncate: OnTruncate,
    pub(super) counts: RowCounts,
    tables: HashMap<Table, Statements>,
    /// See [`Writer::keep_own_values`].
    pub(super) own_values: Option<Statement>,
    partial_update: LazyStatement,
    /// Whether the savepoint of the last batch stands. The next batch's savepoint replaces it, and COMMIT
    /// ends it, so neither takes a round trip of its own.
    in_batch: bool,
}

impl Writer {
    /// Prepares to write over `session`, which passes the fence of its own role
    /// ([`Endpoint::connect_to_write`](crate::postgres::Endpoint::connect_to_write)).
    ///
    /// # Errors
    /// A target table or column is missing; the role lacks a privilege; the connection broke.
    pub async fn new(session: Session, names: &Names, settings: WriterSettings<'_>) -> Result<Self> {
        let traffic = Database::traffic(&session, names);
        let catalog = TargetCatalog::read(traffic, settings.tables, settings.mapping).await?;
        let session = WriteSession::new(session, Side::Traffic).await?;
        let (quarantine, notes) = (Quarantine::new(names, settings.mapping), Notes::new(names));
        let leads = settings.mapping.of(Table::LandingLeads);
        let mut writer = Writer {
            copies: Copies::new(names),
            may_have_quarantined: quarantine.has_rows(&session).await?,
            has_noted: notes.has_rows(&session).await?,
            partial_update: LazyStatement::new(statements::partial_update_leads(names, leads)),
            names: names.clone(),
            tables: HashMap::new(),
            own_values: None,
            copying: CopyStrategy::default(),
            counts: RowCounts::default(),
            in_batch: false,
            on_truncate: settings.on_truncate,
            session,
            catalog,
            quarantine,
            notes,
        };
        for &table in settings.tables {
            writer.prepare(table, settings).await?;
        }
        Ok(writer)
    }

    async fn prepare(&mut self, table: Table, settings: WriterSettings<'_>) -> Result<()> {
        let mapping = settings.mapping.of(table);
        let target = TargetTable { names: &self.names, mapping };
        // Prepared at once and not lazily, because a missing table or column must show before any change is
        // applied.
        let upsert = target.upsert(settings.touch);
        let upsert = during(&self.session, preparing(table)).prepare(&upsert).await?;
        let differing = LazyStatement::new(target.differing(settings.touch));
        let delete =
            LazyStatement::new(deletes::delete((&self.names, settings.mapping), table, settings.tables));
        let read = LazyStatement::new(statements::read_verbatim(&self.names, mapping));
        self.tables.insert(table, Statements { upsert, differing, delete, read });
        Ok(())
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether changes are written that are not committed.
    pub fn in_transaction(&self) -> bool {
        self.session.in_transaction()
    }

    pub fn mapping(&self, table: Table) -> &Arc<TableMapping> {
        self.catalog.mapping(table)
    }

    pub fn triggers(&self) -> TriggerControl {
        self.session.triggers()
    }

    /// Number of rows by result, for all rows so far.
    pub fn counts(&self) -> RowCounts {
        self.counts
    }

    pub(super) fn database(&self) -> Database<'_> {
        Database::traffic(&self.session, &self.names)
    }

    fn statements(&self, table: Table) -> Result<&Statements> {
        self.tables.get(&table).ok_or_else(|| not_replicated(self.names.landing_name(table)))
    }

    pub(super) fn target(&self, table: Table) -> TargetTable<'_> {
        TargetTable { names: &self.names, mapping: self.catalog.mapping(table) }
    }

    pub(super) fn upsert(&self, table: Table) -> Result<&Statement> {
        self.statements(table).map(|statements| &statements.upsert)
    }

    pub(super) async fn differing(&self, table: Table) -> Result<&Statement> {
        self.statements(table)?.differing.on(&self.session, &preparing(table)).await
    }

    /// The statement of [`deletes::delete`].
    pub(super) async fn delete(&self, table: Table) -> Result<&Statement> {
        self.statements(table)?.delete.on(&self.session, &preparing(table)).await
    }

    /// The statement of [`statements::read_verbatim`].
    pub(super) async fn read(&self, table: Table) -> Result<&Statement> {
        self.statements(table)?.read.on(&self.session, &preparing(table)).await
    }

    /// The statement of [`statements::partial_update_leads`].
    pub(super) async fn partial_update(&self) -> Result<&Statement> {
        self.partial_update.on(&self.session, &preparing(Table::LandingLeads)).await
    }

    /// The tables of this writer, in the order of writing.
    pub(super) fn written_tables(&self) -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| self.tables.contains_key(table))
    }

    /// Reads the limits of `table` again. Returns whether the limits have changed.
    pub(super) async fn renew_limits(&mut self, table: Table) -> Result<bool> {
        self.catalog.renew_limits(Database::traffic(&self.session, &self.names), table).await
    }

    /// Whether a row may have conversion notes. A retry runs in another process, and writes notes only while
    /// there is a row to retry.
    pub(super) fn may_have_notes(&self) -> bool {
        self.has_noted || self.may_have_quarantined
    }

    /// Opens the transaction if none is open. Ordinary triggers do not fire in the transaction.
    pub async fn begin(&mut self) -> Result<()> {
        match self.session.in_transaction() {
            true => Ok(()),
            false => self.session.open(&self.opening()).await,
        }
    }

    /// SQL that opens a transaction of changes. A transaction of changes and a retry wait for each other:
    /// between applying a row and releasing the row from quarantine, the other would apply an older image, or
    /// bring back a deleted row. No lock while quarantine is empty, because then a retry has no rows.
    pub(super) fn opening(&self) -> String {
        match self.may_have_quarantined {
            true => self.opening_with("ROW EXCLUSIVE"),
            false => format!("{}; ", self.session.opening(pipelined::OPEN)),
        }
    }

    /// SQL that opens a transaction and locks quarantine in `mode`. A lock of the table, because any role may take
    /// an advisory lock, and would hold up every batch.
    pub(super) fn opening_with(&self, mode: &str) -> String {
        let opening = self.session.opening(pipelined::OPEN);
        format!("{opening}; LOCK TABLE {} IN {mode} MODE; ", self.names.own("quarantine"))
    }

    /// Opens the transaction if none is open, and in the transaction the savepoints [`BATCH`] and [`RANGE`].
    pub(super) async fn begin_batch(&mut self) -> Result<()> {
        let mut sql = if self.session.in_transaction() { String::new() } else { self.opening() };
        if self.in_batch {
            sql.push_str("RELEASE batch; ");
        }
        sql.push_str("SAVEPOINT batch; SAVEPOINT range");
        // The server names a missing table of LOCK in its text alone, which is not passed on.
        let step = format!("opening a batch, which may lock {}", self.names.own("quarantine"));
        self.session.execute(&step, &sql).await?;
        self.session.opened();
        self.in_batch = true;
        self.copying.begin_batch();
        Ok(())
    }

    /// Runs the deferred constraints and triggers for all rows written so far. Unless the transaction `ends`,
    /// the end of the transaction repeats the checks.
    pub(super) async fn check_deferred(&self, ends: bool) -> Result<()> {
        match (self.session.may_defer(), ends) {
            (false, _) => Ok(()),
            (true, true) => self.session.check_deferred(CHECK_DEFERRED).await,
            (true, false) => self.session.check_deferred(CHECK_AND_DEFER).await,
        }
    }

    /// Makes the applied changes durable. After a failed commit, only Traffic's checkpoint tells whether the
    /// changes are durable.
    ///
    /// # Errors
    /// The errors of [`WriteSession::commit`]. The next writer knows a new constraint, and checks each batch
    /// before the commit.
    pub async fn commit(&mut self) -> Result<()> {
        self.session.commit().await?;
        self.in_batch = false;
        Ok(())
    }

    /// Records rows that Traffic has now: releases the rows from quarantine, and updates their notes.
    pub(super) async fn record(&mut self, arrived: Arrived<'_>) -> Result<()> {
        let Arrived { table, ids, noted, rows, are_deleted } = arrived;
        if self.may_have_quarantined {
            self.quarantine.release(&self.session, table, ids).await?;
        }
        if self.may_have_notes() && !noted.is_empty() {
            let still = rows.iter().map(|mapped| &mapped.row);
            let scope = Scope { table, ids: noted, columns: None, are_deleted };
            self.notes.forget(&self.session, scope, still).await?;
        }
        let noted = rows.iter().map(|mapped| (&mapped.row, mapped.origin));
        self.has_noted |= self.notes.write(&self.session, table, noted).await?;
        Ok(())
    }

    pub(super) async fn quarantine_write(&mut self, write: &Write<'_>, cause: &RefusalCause) -> Result<()> {
        let what = Refused::Write(&write.row, write.operation);
        self.quarantine(&Refusal { what, origin: write.origin, cause }).await
    }

    pub(super) async fn quarantine(&mut self, refusal: &Refusal<'_>) -> Result<()> {
        self.may_have_quarantined = true;
        self.counts.quarantined += 1;
        self.quarantine.put(&self.session, refusal).await?;
        reach(Point::Quarantined);
        Ok(())
    }
}

pub(super) fn preparing(table: Table) -> String {
    format!("preparing to write {}", table.traffic_name())
}

pub(super) fn writing(table: Table) -> String {
    format!("writing {}", table.traffic_name())
}

fn not_replicated(table: &str) -> Error {
    Error::refused(format!("Landing sent a change of {table}, which is not replicated here"))
        .remedy(message!("traffic-remedy-not-replicated"))
}
