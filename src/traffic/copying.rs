//! Inserting rows by COPY: less work for the server than an upsert, and only a first guess.
//!
//! A copied row that Traffic does not take as it is (somebody else has brought its key, a CHECK forbids it) fails the
//! COPY as a whole. It is undone then, and its rows are upserted as always, which finds the one that is bad. So this
//! changes how fast rows are written, and nothing of what is written.
//!
//! Rows are mapped while those before them are on their way: the server works meanwhile.

use std::collections::HashSet;
use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Statement;
use uuid::Uuid;

use super::binary::Encoder;
use super::segment::{Mapped, Rejected};
use super::triggers::TriggerControl;
use super::writer::{Writer, preparing};
use super::{catalog, statements};
use crate::batch::Write;
use crate::change::Table;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::mapping;

/// How much is handed to the connection at a time, in bytes; a row more when it does not fit.
const PIECE: usize = 64 << 10;

/// How many new rows are worth the round trips that a COPY takes more than one upsert.
pub(super) const WORTHWHILE: usize = 100;

/// What a table's rows are copied with.
pub(super) struct Copying {
    hold: Statement,
    /// [`catalog::copy_target`].
    look: Statement,
    copy: Statement,
    /// Of rows that belong to a lead.
    lock_leads: Option<Statement>,
}

/// What a table that takes COPY is like, for as long as it is held.
struct CopyTarget {
    limits: Vec<Option<usize>>,
    /// No trigger of the school's makes less or something else of a row.
    quiet: bool,
}

/// What became of rows that were copied.
#[derive(Default)]
pub(super) struct CopyResult<'w, 'c> {
    /// Those that were sent, in primary-key order.
    pub(super) ids: Vec<Uuid>,
    /// Those of them that have notes.
    pub(super) noted: Vec<Mapped>,
    /// Left out: their lead is missing, or they name none.
    pub(super) orphans: HashSet<Uuid>,
    /// Left out: the mapping refused them.
    pub(super) rejected: Rejected<'w, 'c>,
    /// Whether each that was sent is there now, beyond doubt.
    pub(super) all_there: bool,
}

impl Writer {
    /// Whether all rows of `table` that come from now on are new to it: Traffic holds none from Landing.
    ///
    /// # Errors
    /// The connection broke; the role may not read the table.
    pub async fn is_new(&self, table: Table) -> Result<bool> {
        Ok(!catalog::holds_rows_from_landing(&self.session, &self.names, table).await?)
    }

    /// Every row of `table` that comes is new, and comes once; none has a note yet. Else as [`Writer::copy_into`].
    ///
    /// # Errors
    /// Those of [`Writer::copy_into`].
    pub async fn fill(&mut self, table: Table) -> Result<bool> {
        self.new_tables.insert(table);
        self.copy_into(table).await
    }

    /// From here on, new rows of `table` are inserted by COPY where that serves. Returns whether it does: not where
    /// triggers run for replicated rows, nor in a table of a shape of its own.
    ///
    /// # Errors
    /// The table is gone; the role lacks a privilege; the connection broke.
    pub async fn copy_into(&mut self, table: Table) -> Result<bool> {
        if self.triggers != TriggerControl::ReplicaRole {
            return Ok(false);
        }
        let (hold, copy) = (statements::hold_table(&self.names, table), statements::copy(&self.names, table));
        let prepare = async |sql: &str| {
            let prepared = self.session.prepare(sql).await;
            prepared.map_err(|error| Error::database(preparing(table), &error))
        };
        let copying = Copying {
            hold: prepare(&hold).await?,
            look: prepare(&catalog::copy_target()).await?,
            copy: prepare(&copy).await?,
            lock_leads: match table.lead_column() {
                Some(_) => Some(prepare(&statements::lock_leads(&self.names)).await?),
                None => None,
            },
        };
        let serves = self.look(table, &copying).await?.is_some();
        self.copying.insert(table, copying);
        Ok(serves)
    }

    /// Whether those of `writes` that are new should be copied.
    pub(super) fn should_copy(&self, table: Table, writes: &[Write<'_>]) -> bool {
        self.may_copy && self.is_worth_copying(table, writes)
    }

    /// The same, unless a COPY has failed meanwhile.
    pub(super) fn is_worth_copying(&self, table: Table, writes: &[Write<'_>]) -> bool {
        let new = writes.iter().filter(|write| write.new).count();
        let worthwhile = new >= WORTHWHILE || (new > 0 && self.new_tables.contains(&table));
        worthwhile && self.copying.contains_key(&table)
    }

    /// Inserts those of `writes`, in primary-key order, that are new; `None` when nothing was inserted, and all are to be
    /// upserted. The leads of `present`, in the order of their keys, are there, and nobody else can take them away.
    ///
    /// # Errors
    /// A row that the server does not take, or that has no one binary form: then it is to be undone, and all upserted.
    pub(super) async fn copy_new<'w, 'c>(
        &self,
        table: Table,
        writes: &'w [Write<'c>],
        present: &[Uuid],
    ) -> Result<Option<CopyResult<'w, 'c>>> {
        let Some(copying) = self.copying.get(&table) else { return Ok(None) };
        let new = || writes.iter().filter(|write| write.new);
        let mut leads = Vec::new();
        if table.lead_column().is_some() {
            let named = new().filter_map(|write| write.row.lead_id());
            leads.extend(named.filter(|lead| present.binary_search(lead).is_err()));
            leads.sort_unstable();
            leads.dedup();
        }
        // What the table is like now, it is until the transaction ends. One round trip: they are sent together.
        let hold = async {
            let held = self.session.execute(&copying.hold, &[]).await;
            held.map_err(|error| Error::database(writing(table), &error))
        };
        let missing = self.missing_leads(copying, table, &leads);
        let (_, target, missing) = tokio::try_join!(hold, self.look(table, copying), missing)?;
        let Some(target) = target else { return Ok(None) };
        let has_lead = table.lead_column().is_some();
        let is_orphan =
            |write: &&Write<'_>| has_lead && write.row.lead_id().is_none_or(|lead| missing.contains(&lead));
        let orphans = new().filter(is_orphan).map(|write| write.row.id).collect();
        let mut copied = CopyResult { orphans, ..CopyResult::default() };
        let rows = new().filter(|write| !is_orphan(write));
        let taken = self.send(table, copying, &target, rows, &mut copied).await?;
        if taken != copied.ids.len() as u64 {
            // The upserts find out which.
            return Err(Error::skipped(writing(table)));
        }
        copied.all_there = target.quiet;
        Ok(Some(copied))
    }

    /// `None` where the table does not take COPY.
    async fn look(&self, table: Table, copying: &Copying) -> Result<Option<CopyTarget>> {
        let (columns, types) = catalog::copied_columns(table);
        let name = self.names.traffic_table(table);
        let found = self.session.query_opt(&copying.look, &[&name, &columns, &types]).await;
        let found = found.map_err(|error| Error::database(writing(table), &error))?;
        let Some(row) = found.filter(|row| row.get(0)) else { return Ok(None) };
        let limits = row.get::<_, Vec<Option<i32>>>(2).into_iter().skip(statements::FIXED.len());
        let limits = limits.map(catalog::text_limit).collect();
        Ok(Some(CopyTarget { limits, quiet: row.get(1) }))
    }

    /// Those of `leads` that are not on Traffic; the others are locked.
    async fn missing_leads(&self, copying: &Copying, table: Table, leads: &[Uuid]) -> Result<HashSet<Uuid>> {
        let Some(lock) = copying.lock_leads.as_ref().filter(|_| !leads.is_empty()) else {
            return Ok(HashSet::new());
        };
        let missing = self.session.query(lock, &[&leads]).await;
        let missing = missing.map_err(|error| Error::database(writing(table), &error))?;
        Ok(missing.iter().map(|row| row.get(0)).collect())
    }

    /// Maps the rows and sends them, piece by piece. Returns how many the server has taken.
    async fn send<'w, 'c: 'w>(
        &self,
        table: Table,
        copying: &Copying,
        target: &CopyTarget,
        rows: impl Iterator<Item = &'w Write<'c>>,
        copied: &mut CopyResult<'w, 'c>,
    ) -> Result<u64> {
        let failed = |error| Error::writing(writing(table), &error);
        let mut encoder = Encoder::new(mapping::targets(table), statements::initial_status(table));
        let mut sink = pin!(self.session.copy_in::<_, Bytes>(&copying.copy).await.map_err(failed)?);
        for write in rows {
            let row = match mapping::map(&write.row, &target.limits) {
                Ok(row) => row,
                Err(rejection) => {
                    copied.rejected.push((write, rejection));
                    continue;
                }
            };
            if !encoder.row(&row, write.origin.commit_time) {
                // The COPY is given up with its sink.
                return Err(Error::new(Kind::Row, format!("{}: a value has no binary form", writing(table))));
            }
            copied.ids.push(row.id);
            if !row.notes.is_empty() {
                copied.noted.push(Mapped { row, origin: write.origin });
            }
            if let Some(piece) = encoder.piece(PIECE) {
                // Why the server would take no more, the end says.
                if sink.send(piece.freeze()).await.is_err() {
                    break;
                }
                reach(Point::Copying);
            }
        }
        if sink.send(encoder.finish().freeze()).await.is_ok() {
            reach(Point::Copying);
        }
        sink.finish().await.map_err(failed)
    }
}

fn writing(table: Table) -> String {
    format!("writing {}", table.traffic_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    #[test]
    fn the_columns_whose_types_are_looked_at_are_those_that_are_copied_in_their_order() {
        for table in Table::ALL {
            let (columns, types) = catalog::copied_columns(table);
            let sql = statements::copy(&Names::default(), table);
            assert!(sql.contains(&format!("({})", columns.join(", "))), "{sql}");
            let mapped = mapping::targets(table).iter().map(|target| target.sql_type);
            let status = statements::initial_status(table).map(|_| "text");
            let sent = ["uuid", "timestamptz"].into_iter().chain(mapped).chain(status);
            assert!(sent.eq(types), "{sql}");
        }
    }
}
