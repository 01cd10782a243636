//! Inserting rows by COPY: less work for the server than an upsert, and only a first attempt.
//!
//! A row that Traffic does not take as a new row fails the whole COPY, for example because another session
//! has inserted the key, or because a CHECK refuses the row. The COPY is then undone, and upserts write its
//! rows and find the bad row. So COPY changes how fast rows are written, and not the result.
//!
//! Mapping overlaps with sending: the server works on the earlier rows meanwhile.

use std::collections::HashSet;
use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Statement;
use uuid::Uuid;

use super::binary::Encoder;
use super::segment::{Mapped, Rejected};
use super::writer::{Writer, preparing, writing};
use super::{catalog, statements};
use crate::batch::Write;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::mapping;
use crate::model::change::Table;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;

/// Bytes handed to the connection at a time. A piece may be longer by the last row.
const PIECE: usize = 64 << 10;

/// Number of new rows from which a COPY is worth its extra round trips over an upsert.
pub(super) const WORTHWHILE: usize = 100;

/// The statements for copying into one table.
pub(super) struct Copying {
    hold: Statement,
    /// [`catalog::copy_target`].
    look: Statement,
    copy: Statement,
    /// `Some` for a table whose rows belong to a lead.
    lock_leads: Option<Statement>,
}

/// Facts about a table that takes COPY, valid while the table is locked.
struct CopyTarget {
    limits: Vec<Option<usize>>,
    /// Whether no trigger fires for each copied row, so no trigger leaves out or changes a row.
    quiet: bool,
}

/// Result of copying rows.
#[derive(Default)]
pub(super) struct CopyResult<'w, 'c> {
    /// Ids of the rows sent, in primary-key order.
    pub(super) ids: Vec<Uuid>,
    /// Rows sent that have notes.
    pub(super) noted: Vec<Mapped>,
    /// Rows left out, because the lead is missing or the row names no lead.
    pub(super) orphans: HashSet<Uuid>,
    /// Rows left out, because the mapping refused the rows.
    pub(super) rejected: Rejected<'w, 'c>,
    /// Whether every row sent is certainly on Traffic now.
    pub(super) all_there: bool,
}

impl Writer {
    /// Whether every row of `table` from Landing will be new to Traffic, because Traffic holds no row from
    /// Landing so far.
    ///
    /// # Errors
    /// The connection broke; the role may not read the table.
    pub async fn is_new(&self, table: Table) -> Result<bool> {
        Ok(!catalog::holds_rows_from_landing(&self.session, &self.names, table).await?)
    }

    /// As [`Writer::copy_into`], for a table whose rows are all new, come once and have no notes yet.
    ///
    /// # Errors
    /// The errors of [`Writer::copy_into`].
    pub async fn fill(&mut self, table: Table) -> Result<bool> {
        self.new_tables.insert(table);
        self.copy_into(table).await
    }

    /// Lets COPY insert the new rows of `table` from now on, where COPY is possible. Returns whether COPY is
    /// possible now: not where triggers fire for replicated rows, and not where COPY could differ from INSERT
    /// (`catalog::copy_target`).
    ///
    /// # Errors
    /// The table is gone; the role lacks a privilege; the connection broke.
    pub async fn copy_into(&mut self, table: Table) -> Result<bool> {
        if self.triggers != TriggerControl::ReplicaRole {
            return Ok(false);
        }
        let (hold, copy) = (statements::hold_table(&self.names, table), statements::copy(&self.names, table));
        let prepare = async |sql: &str| during(&self.session, preparing(table)).prepare(sql).await;
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

    /// Whether to copy the new rows among `writes`.
    pub(super) fn should_copy(&self, table: Table, writes: &[Write<'_>]) -> bool {
        self.may_copy && self.is_worth_copying(table, writes)
    }

    /// As [`Writer::should_copy`], whether or not a COPY has failed in the current batch.
    pub(super) fn is_worth_copying(&self, table: Table, writes: &[Write<'_>]) -> bool {
        let new = writes.iter().filter(|write| write.new).count();
        let worthwhile = new >= WORTHWHILE || (new > 0 && self.new_tables.contains(&table));
        worthwhile && self.copying.contains_key(&table)
    }

    /// Copies the new rows among `writes`, in primary-key order. Returns `None` when nothing was inserted and
    /// the caller must upsert all rows. `present` holds ids of leads, in order: the leads are on Traffic, and
    /// no other session can delete them.
    ///
    /// # Errors
    /// A row that the server refuses, a trigger leaves out, or has no unambiguous binary form. The caller
    /// must then undo the COPY, and upsert all rows.
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
        // The lock keeps the facts about the table valid until the transaction ends. The three statements are
        // sent together, in one round trip.
        let hold = async { during(&self.session, writing(table)).run(&copying.hold, &[]).await };
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
            // The upserts find out which row is missing.
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

    /// Returns the leads missing on Traffic, and locks the others.
    async fn missing_leads(&self, copying: &Copying, table: Table, leads: &[Uuid]) -> Result<HashSet<Uuid>> {
        let Some(lock) = copying.lock_leads.as_ref().filter(|_| !leads.is_empty()) else {
            return Ok(HashSet::new());
        };
        let missing = self.session.query(lock, &[&leads]).await;
        let missing = missing.map_err(|error| Error::database(writing(table), &error))?;
        Ok(missing.iter().map(|row| row.get(0)).collect())
    }

    /// Maps the rows and sends them piece by piece. Returns the number of rows taken by the server.
    async fn send<'w, 'c: 'w>(
        &self,
        table: Table,
        copying: &Copying,
        target: &CopyTarget,
        rows: impl Iterator<Item = &'w Write<'c>>,
        copied: &mut CopyResult<'w, 'c>,
    ) -> Result<u64> {
        let failed = |error| Error::writing(writing(table), &error).of_table(table.traffic_name());
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
                // Dropping the sink cancels the COPY.
                return Err(Error::new(Kind::Row, format!("{}: a value has no binary form", writing(table))));
            }
            copied.ids.push(row.id);
            if !row.notes.is_empty() {
                copied.noted.push(Mapped { row, origin: write.origin });
            }
            if let Some(piece) = encoder.piece(PIECE) {
                // `finish` returns the error for which the server takes no more data.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Names;

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
