//! The one session that writes to Traffic: its transaction, savepoints and prepared statements.
//!
//! A Traffic transaction begins with its first batch. The batch that ends at a commit boundary commits the
//! transaction, together with the checkpoint. After any error except a bad row the caller must drop the
//! session: changes without a commit never happened, and the next attempt continues from the position on
//! Traffic.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Statement;
use uuid::Uuid;

use super::catalog::TargetCatalog;
use super::copying::Copying;
use super::deletes;
use super::statements::{self, Touch};
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::mapping::Absent;
use crate::model::change::{Row, Table};
use crate::model::names::Names;
use crate::model::truncate::OnTruncate;
use crate::postgres::prepared::LazyStatement;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Session, pipelined};
use crate::quarantine::notes::Notes;
use crate::quarantine::rows::Quarantine;

/// Rows read from Landing, for changes whose row was missing on Traffic; `None` for a row gone from Landing
/// too.
pub type Supplied = HashMap<(Table, Uuid), Option<Row>>;

/// Result of applying a batch.
#[derive(Debug)]
pub enum Applied {
    /// Every change is in the open transaction: as a row, or in quarantine.
    Done,
    /// Keys of rows needed whole: read the rows from Landing, and apply the same batch again with the rows.
    /// The transaction is as before the batch.
    Missing(Vec<(Table, Uuid)>),
}

/// Number of rows by result, for the batches applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub written: u64,
    /// Rows equal on Traffic already.
    pub unchanged: u64,
    pub deleted: u64,
    pub quarantined: u64,
}

/// Runs the deferred constraints and triggers for all rows written so far.
pub(super) const CHECK_DEFERRED: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// The statements for one table.
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
    /// Whether `quarantine` may hold rows. True for an empty table costs a query or two; false for a table
    /// with rows would apply an older image. No other session makes false wrong, because only the holder of
    /// the lease adds rows, and a retry changes existing rows.
    pub(super) may_have_quarantined: bool,
    /// Whether this process knows of conversion notes. Use [`Writer::may_have_notes`], because a retry writes
    /// notes too.
    pub(super) has_noted: bool,
    pub(super) on_truncate: OnTruncate,
    tables: HashMap<Table, Statements>,
    partial_update: LazyStatement,
    /// Tables whose new rows are inserted by COPY.
    pub(super) copying: HashMap<Table, Copying>,
    /// Tables without any notes so far, in which each key comes once.
    pub(super) new_tables: HashSet<Table>,
    /// False after a failed COPY, until the next batch.
    pub(super) may_copy: bool,
    /// Whether the current range has tried a COPY.
    pub(super) tried_copy: bool,
    /// Whether deferred constraints check each range, because the constraints have refused the batch as a
    /// whole.
    pub(super) checks_ranges: bool,
    /// Whether a row of the batch was refused for a value held by another row.
    pub(super) collided: bool,
    pub(super) counts: RowCounts,
    pub(super) in_transaction: bool,
    /// Whether the savepoint of the last batch stands. The next batch's savepoint replaces it, and COMMIT
    /// ends it, so neither takes a round trip of its own.
    in_batch: bool,
}

impl Writer {
    /// Prepares to write `tables` over `session`, which passes the fence of its own role
    /// ([`Endpoint::connect_to_write`](crate::postgres::Endpoint::connect_to_write)). A column of Traffic
    /// whose Landing column is not published keeps its values, because the column belongs to Traffic.
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
        // Prepared at once and not lazily, because a missing table or column must show before any change is
        // applied.
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

    /// The tables of this writer, in the order of writing.
    pub(super) fn written_tables(&self) -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| self.tables.contains_key(table))
    }

    /// Number of rows by result, for all rows so far.
    pub fn counts(&self) -> RowCounts {
        self.counts
    }

    /// Whether a row may have conversion notes. A retry runs in another process, and writes notes only while
    /// there is a row to retry.
    pub(super) fn may_have_notes(&self) -> bool {
        self.has_noted || self.may_have_quarantined
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

    pub(super) async fn execute(&self, step: &str, sql: &str) -> Result<()> {
        during(&self.session, step).batch(sql).await
    }

    /// Opens the transaction if none is open. Ordinary triggers do not fire in the transaction.
    pub async fn begin(&mut self) -> Result<()> {
        if !self.in_transaction {
            let sql = self.opening(self.beside_retries());
            self.execute("opening a transaction on Traffic", &sql).await?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// Opens a transaction in which no other session of leadbridge touches quarantined rows, or the rows on
    /// Traffic with the same keys.
    pub(super) async fn begin_retry(&mut self) -> Result<()> {
        self.execute("opening a transaction on Traffic", &self.opening("pg_advisory_xact_lock")).await?;
        self.in_transaction = true;
        Ok(())
    }

    /// The lock function for a transaction of changes. A transaction of changes and a retry wait for each
    /// other: between applying a row and releasing the row from quarantine, the other would apply an older
    /// image, or bring back a deleted row. No lock while quarantine is empty, because then a retry has no
    /// rows.
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

    /// Opens the transaction if none is open, and in the transaction two savepoints: `batch`, to undo the
    /// whole batch, and `range`, to undo everything after the last good range.
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

    /// Makes the applied changes durable. After a failed commit, only Traffic's checkpoint tells whether the
    /// changes are durable.
    ///
    /// # Errors
    /// Transient when a deferred constraint refuses a row. The constraint is newer than this writer. The next
    /// writer knows the constraint, and checks each batch before the commit.
    pub async fn commit(&mut self) -> Result<()> {
        if self.in_transaction {
            let step = "committing on Traffic";
            during(&self.session, step).write_batch("COMMIT").await?;
            (self.in_transaction, self.in_batch) = (false, false);
        }
        Ok(())
    }
}

pub(super) fn preparing(table: Table) -> String {
    format!("preparing to write {}", table.traffic_name())
}

pub(super) fn writing(table: Table) -> String {
    format!("writing {}", table.traffic_name())
}

fn not_replicated(table: Table) -> Error {
    Error::refused(format!("Landing sent a change of {}, which is not replicated here", table.landing_name()))
        .remedy("set scheduled_notifications = true, run `leadbridge migrate`, or take the table out of the publication")
}
