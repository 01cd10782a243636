//! The one session that writes to Traffic: its transaction, its savepoints, its prepared statements.
//!
//! A Traffic transaction is begun with the first batch and committed with the batch that ends at a commit
//! boundary, together with the checkpoint. On any error but a bad row the session is to be dropped: what was
//! not committed never happened, and the position on Traffic says where to go on.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Statement;
use uuid::Uuid;

use super::catalog::TargetCatalog;
use super::copying::Copying;
use super::deletes;
use super::notes::Notes;
use super::prepared::LazyStatement;
use super::quarantine::Quarantine;
use super::statements::{self, Touch};
use super::triggers::TriggerControl;
use crate::change::{Row, Table};
use crate::checkpoint::Published;
use crate::config::OnTruncate;
use crate::database::{Session, pipelined};
use crate::error::{Error, Result};
use crate::mapping::Absent;
use crate::names::Names;

/// Rows read from Landing for changes whose row was not on Traffic; `None` for a row that is gone there too.
pub type Supplied = HashMap<(Table, Uuid), Option<Row>>;

/// What became of a batch.
#[derive(Debug)]
pub enum Applied {
    /// Every change is in the open transaction: as a row, or in quarantine.
    Done,
    /// These rows are needed whole: read them from Landing, and apply the same batch again with them.
    /// The transaction is as it was before the batch.
    Missing(Vec<(Table, Uuid)>),
}

/// What became of the rows of the batches that were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub written: u64,
    /// Traffic held them already as they were to be written.
    pub unchanged: u64,
    pub deleted: u64,
    pub quarantined: u64,
}

/// Makes deferred constraints and triggers look at what was done so far.
pub(super) const CHECK_DEFERRED: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// What writes one table.
struct Statements {
    /// The columns that Landing lacks.
    absent: Absent,
    upsert: Statement,
    /// [`statements::differing`].
    differing: LazyStatement,
    delete: LazyStatement,
    read: LazyStatement,
}

/// Applies batches to Traffic.
pub struct Writer {
    pub(super) session: Session,
    pub(super) names: Names,
    pub(super) catalog: TargetCatalog,
    pub(super) triggers: TriggerControl,
    pub(super) quarantine: Quarantine,
    pub(super) notes: Notes,
    /// Whether `quarantine` may hold rows. True for an empty table costs a query or two; false for a table with rows
    /// would apply an older image. Only the holder of the lease adds rows, a retry changes those that are there.
    pub(super) may_have_quarantined: bool,
    /// Whether this process knows of conversion notes. Ask [`Writer::may_have_notes`]: a retry writes some, too.
    pub(super) has_noted: bool,
    pub(super) on_truncate: OnTruncate,
    tables: HashMap<Table, Statements>,
    partial_update: LazyStatement,
    /// Tables whose new rows are inserted by COPY.
    pub(super) copying: HashMap<Table, Copying>,
    /// Tables of which no row has a note yet, and each key comes once.
    pub(super) new_tables: HashSet<Table>,
    /// Not once a COPY has failed, until the next batch.
    pub(super) may_copy: bool,
    /// The range in hand was begun with a COPY.
    pub(super) tried_copy: bool,
    /// Deferred constraints look at each range: they have refused the batch as a whole.
    pub(super) checks_ranges: bool,
    /// A row of the batch was refused for a value that another row holds.
    pub(super) collided: bool,
    pub(super) counts: RowCounts,
    pub(super) in_transaction: bool,
    /// The last batch's savepoint stands: the next one's replaces it, COMMIT ends it, and neither costs a round
    /// trip of its own.
    in_batch: bool,
}

impl Writer {
    /// Prepares to write `tables` over `session`, which passes our own fence
    /// ([`Endpoint::connect_to_write`](crate::database::Endpoint::connect_to_write)). What comes from a column that Landing
    /// does not publish, it leaves alone: that is Traffic's.
    ///
    /// # Errors
    /// A target table or column is missing; the role lacks a privilege; the connection broke.
    pub async fn new(
        session: Session,
        names: &Names,
        landing: &Published,
        tables: &[Table],
        touch: Touch,
        on_truncate: OnTruncate,
    ) -> Result<Self> {
        let catalog = TargetCatalog::read(&session, names, tables).await?;
        let triggers = TriggerControl::probe(&session).await?;
        let (quarantine, notes) = (Quarantine::new(names), Notes::new(names));
        let mut writer = Writer {
            may_have_quarantined: quarantine.has_rows(&session).await?,
            has_noted: notes.has_rows(&session).await?,
            partial_update: LazyStatement::new(statements::partial_update_leads(
                names,
                &landing.absent(Table::LandingLeads),
            )),
            names: names.clone(),
            tables: HashMap::new(),
            copying: HashMap::new(),
            new_tables: HashSet::new(),
            may_copy: false,
            tried_copy: false,
            checks_ranges: false,
            collided: false,
            counts: RowCounts::default(),
            in_transaction: false,
            in_batch: false,
            session,
            catalog,
            triggers,
            quarantine,
            notes,
            on_truncate,
        };
        for &table in tables {
            writer.prepare(table, tables, landing.absent(table), touch).await?;
        }
        Ok(writer)
    }

    async fn prepare(&mut self, table: Table, tables: &[Table], absent: Absent, touch: Touch) -> Result<()> {
        let upsert = statements::upsert(&self.names, table, &absent, touch);
        // At once: whether the table is there, with its columns, shows before anything is applied.
        let upsert = self.session.prepare(&upsert).await;
        let upsert = upsert.map_err(|error| Error::database(preparing(table), &error))?;
        let differing = LazyStatement::new(statements::differing(&self.names, table, &absent, touch));
        let delete = LazyStatement::new(deletes::delete(&self.names, table, tables));
        let read = LazyStatement::new(statements::read_verbatim(&self.names, table));
        self.tables.insert(table, Statements { absent, upsert, differing, delete, read });
        Ok(())
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn triggers(&self) -> TriggerControl {
        self.triggers
    }

    fn statements(&self, table: Table) -> Result<&Statements> {
        self.tables.get(&table).ok_or_else(|| not_replicated(table))
    }

    pub(super) fn absent(&self, table: Table) -> Result<&Absent> {
        self.statements(table).map(|statements| &statements.absent)
    }

    pub(super) fn upsert(&self, table: Table) -> Result<&Statement> {
        self.statements(table).map(|statements| &statements.upsert)
    }

    /// The tables that this writes, in the order in which they are written.
    pub(super) fn written_tables(&self) -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| self.tables.contains_key(table))
    }

    /// What became of all rows so far.
    pub fn counts(&self) -> RowCounts {
        self.counts
    }

    /// Whether a row may have conversion notes. A retry of quarantine, which is another process, writes notes only
    /// while there is something to retry.
    pub(super) fn may_have_notes(&self) -> bool {
        self.has_noted || self.may_have_quarantined
    }

    pub(super) async fn differing(&self, table: Table) -> Result<&Statement> {
        self.statements(table)?.differing.on(&self.session, &preparing(table)).await
    }

    /// What [`deletes::delete`] says.
    pub(super) async fn delete(&self, table: Table) -> Result<&Statement> {
        self.statements(table)?.delete.on(&self.session, &preparing(table)).await
    }

    /// What [`statements::read_verbatim`] says.
    pub(super) async fn read(&self, table: Table) -> Result<&Statement> {
        self.statements(table)?.read.on(&self.session, &preparing(table)).await
    }

    /// What [`statements::partial_update_leads`] says.
    pub(super) async fn partial_update(&self) -> Result<&Statement> {
        self.partial_update.on(&self.session, &preparing(Table::LandingLeads)).await
    }

    pub(super) async fn execute(&self, step: &str, sql: &str) -> Result<()> {
        self.session.batch_execute(sql).await.map_err(|error| Error::database(step, &error))
    }

    /// Opens the transaction if none is open. Ordinary triggers do not fire in it.
    pub async fn begin(&mut self) -> Result<()> {
        if !self.in_transaction {
            let sql = self.opening(self.beside_retries());
            self.execute("opening a transaction on Traffic", &sql).await?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// Opens a transaction in which nobody else touches quarantined rows or what they become.
    pub(super) async fn begin_retry(&mut self) -> Result<()> {
        self.execute("opening a transaction on Traffic", &self.opening("pg_advisory_xact_lock")).await?;
        self.in_transaction = true;
        Ok(())
    }

    /// A transaction of changes waits for a retry, and a retry for it: between applying a row and releasing it from
    /// quarantine, the other would apply an older image, or bring back what was deleted. While nothing is quarantined,
    /// there is nothing to retry.
    pub(super) fn beside_retries(&self) -> &'static str {
        if self.may_have_quarantined { "pg_advisory_xact_lock_shared" } else { "" }
    }

    pub(super) fn opening(&self, lock: &str) -> String {
        let mut sql = format!("{}; {}; ", pipelined::OPEN, self.triggers.suppress());
        if !lock.is_empty() {
            let key = postgres_protocol::escape::escape_literal(&self.names.own("quarantine"));
            sql.push_str(&format!("SELECT pg_catalog.{lock}(pg_catalog.hashtextextended({key}, 0)); "));
        }
        sql
    }

    /// Opens the transaction if none is open, and in it a batch that can be undone as a whole (`batch`), and from
    /// its last good range on (`range`).
    pub(super) async fn begin_batch(&mut self) -> Result<()> {
        let mut sql = match self.in_transaction {
            true => String::new(),
            false => self.opening(self.beside_retries()),
        };
        if self.in_batch {
            sql.push_str("RELEASE batch; ");
        }
        sql.push_str("SAVEPOINT batch; SAVEPOINT range");
        self.execute("opening a batch on Traffic", &sql).await?;
        (self.in_transaction, self.in_batch) = (true, true);
        self.may_copy = !self.copying.is_empty();
        Ok(())
    }

    /// Makes what was applied durable. When this fails, only Traffic's checkpoint tells whether it did.
    ///
    /// # Errors
    /// Transient when a deferred constraint refuses a row: it is newer than this writer, and the next one's batches are
    /// checked before they are committed.
    pub async fn commit(&mut self) -> Result<()> {
        if self.in_transaction {
            let step = "committing on Traffic";
            let committed = self.session.batch_execute("COMMIT").await;
            committed.map_err(|error| Error::writing(step, &error).into_transient())?;
            (self.in_transaction, self.in_batch) = (false, false);
        }
        Ok(())
    }
}

pub(super) fn preparing(table: Table) -> String {
    format!("preparing to write {}", table.traffic_name())
}

fn not_replicated(table: Table) -> Error {
    Error::refused(format!("Landing sent a change of {}, which is not replicated here", table.landing_name()))
        .remedy("set scheduled_notifications = true, run `leadbridge migrate`, or take the table out of the publication")
}
