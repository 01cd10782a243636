//! Inserting rows by COPY: less work for the server than an upsert, and only a first attempt.
//!
//! A row that Traffic does not take as a new row fails the whole COPY, for example because another session
//! has inserted the key, or because a CHECK refuses the row. The COPY is then undone, and upserts write its
//! rows and find the bad row. So COPY changes how fast rows are written, and not the result.
//!
//! Mapping overlaps with sending: the server works on the earlier rows meanwhile.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Statement;
use uuid::Uuid;

use super::binary::Encoder;
use super::upserts::{Mapped, Rejected, TableWrites};
use super::writer::{Writer, preparing, writing};
use super::{binary, catalog, statements};
use crate::batch::Write;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;

/// Number of new rows from which a COPY is worth its extra round trips over an upsert.
pub(super) const WORTHWHILE: usize = 100;

/// The tables that take COPY, and whether a COPY is tried now.
#[derive(Default)]
pub(super) struct CopyStrategy {
    tables: HashMap<Table, Copying>,
    /// Tables without any notes so far, in which each key comes once.
    new_tables: HashSet<Table>,
    /// False after a failed COPY, until the next batch.
    may_copy: bool,
    /// Whether the current range has tried a COPY.
    has_tried: bool,
}

impl CopyStrategy {
    pub(super) fn begin_batch(&mut self) {
        self.may_copy = !self.tables.is_empty();
    }

    pub(super) fn begin_range(&mut self) {
        self.has_tried = false;
    }

    /// Whether `table` has no notes so far, and each key comes once.
    pub(super) fn is_new(&self, table: Table) -> bool {
        self.new_tables.contains(&table)
    }

    /// Whether to copy the new rows of `table`, as long as no COPY fails.
    pub(super) fn is_worthwhile(&self, table: Table, writes: &[Write<'_>]) -> bool {
        let new = writes.iter().filter(|write| write.new).count();
        let worthwhile = new >= WORTHWHILE || (new > 0 && self.is_new(table));
        worthwhile && self.tables.contains_key(&table)
    }

    /// Decides whether to copy the new rows now.
    pub(super) fn starts(&mut self, rows: TableWrites<'_, '_>) -> bool {
        let starts = self.may_copy && self.is_worthwhile(rows.table, rows.writes);
        self.has_tried |= starts;
        starts
    }

    /// Whether a refused range has tried a COPY. A COPY fails as a whole, so upserts must try the range
    /// again: all rows may be good. No COPY is tried until the next batch.
    pub(super) fn has_failed(&mut self) -> bool {
        self.may_copy &= !self.has_tried;
        self.has_tried
    }
}

/// The statements for copying into one table.
struct Copying {
    table: Table,
    hold: Statement,
    /// [`catalog::copy_target`].
    look: Statement,
    copy: Statement,
    /// `Some` for a table whose rows belong to a lead.
    lock_leads: Option<Statement>,
}

/// Facts about a table that takes COPY, valid while the table is locked.
struct CopyTarget<'t> {
    copying: &'t Copying,
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
        Ok(!catalog::holds_rows_from_landing(self.database(), table).await?)
    }

    /// As [`Writer::copy_into`], for a table whose rows are all new, come once and have no notes yet.
    ///
    /// # Errors
    /// The errors of [`Writer::copy_into`].
    pub async fn fill(&mut self, table: Table) -> Result<bool> {
        self.copying.new_tables.insert(table);
        self.copy_into(table).await
    }

    /// Lets COPY insert the new rows of `table` from now on, where COPY is possible. Returns whether COPY is
    /// possible now: not where triggers fire for replicated rows, and not where COPY could differ from INSERT
    /// (`catalog::copy_target`).
    ///
    /// # Errors
    /// The table is gone; the role lacks a privilege; the connection broke.
    pub async fn copy_into(&mut self, table: Table) -> Result<bool> {
        let mapping = self.catalog.mapping(table);
        let can_encode = mapping.targets().iter().all(|target| binary::takes(&target.sql_type));
        if self.session.triggers() != TriggerControl::ReplicaRole || !can_encode {
            return Ok(false);
        }
        let (hold, copy) =
            (statements::hold_table(&self.names, table), statements::copy(&self.names, mapping));
        let prepare = async |sql: &str| during(&self.session, preparing(table)).prepare(sql).await;
        let copying = Copying {
            table,
            hold: prepare(&hold).await?,
            look: prepare(&catalog::copy_target()).await?,
            copy: prepare(&copy).await?,
            lock_leads: match table.lead_column() {
                Some(_) => Some(prepare(&statements::lock_leads(&self.names)).await?),
                None => None,
            },
        };
        let serves = look(self, &copying).await?.is_some();
        self.copying.tables.insert(table, copying);
        Ok(serves)
    }
}

/// Copies the new rows, in primary-key order. Returns `None` when nothing was inserted and the caller must
/// upsert all rows.
///
/// # Errors
/// A row that the server refuses, a trigger leaves out, or has no unambiguous binary form. The caller
/// must then undo the COPY, and upsert all rows.
pub(super) async fn copy_new<'w, 'c>(
    writer: &Writer,
    rows: TableWrites<'w, 'c>,
) -> Result<Option<CopyResult<'w, 'c>>> {
    let TableWrites { table, writes, present } = rows;
    let Some(copying) = writer.copying.tables.get(&table) else { return Ok(None) };
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
    let hold = async { during(&writer.session, writing(table)).run(&copying.hold, &[]).await };
    let missing = missing_leads(writer, copying, &leads);
    let (_, target, missing) = tokio::try_join!(hold, look(writer, copying), missing)?;
    let Some(target) = target else { return Ok(None) };
    let has_lead = table.lead_column().is_some();
    let is_orphan =
        |write: &&Write<'_>| has_lead && write.row.lead_id().is_none_or(|lead| missing.contains(&lead));
    let orphans = new().filter(is_orphan).map(|write| write.row.id).collect();
    let copied = send(writer, &target, new().filter(|write| !is_orphan(write))).await?;
    Ok(Some(CopyResult { orphans, all_there: target.quiet, ..copied }))
}

/// `None` where the table does not take COPY.
async fn look<'t>(writer: &Writer, copying: &'t Copying) -> Result<Option<CopyTarget<'t>>> {
    let (table, traffic) = (copying.table, writer.database());
    let (columns, types) = catalog::copied_columns(writer.catalog.mapping(table));
    let step = traffic.during(writing(table));
    let found = step.row_if_any(&copying.look, &[&traffic.table(table), &columns, &types]).await?;
    let Some(row) = found.filter(|row| row.get(0)) else { return Ok(None) };
    let limits = row.get::<_, Vec<Option<i32>>>(2).into_iter().skip(statements::FIXED.len());
    let limits = limits.map(catalog::text_limit).collect();
    Ok(Some(CopyTarget { copying, limits, quiet: row.get(1) }))
}

/// Returns the leads missing on Traffic, and locks the others.
async fn missing_leads(writer: &Writer, copying: &Copying, leads: &[Uuid]) -> Result<HashSet<Uuid>> {
    let Some(lock) = copying.lock_leads.as_ref().filter(|_| !leads.is_empty()) else {
        return Ok(HashSet::new());
    };
    let missing = during(&writer.session, writing(copying.table)).rows(lock, &[&leads]).await?;
    Ok(missing.iter().map(|row| row.get(0)).collect())
}

/// Maps the rows and sends them piece by piece.
async fn send<'w, 'c: 'w>(
    writer: &Writer,
    target: &CopyTarget<'_>,
    rows: impl Iterator<Item = &'w Write<'c>>,
) -> Result<CopyResult<'w, 'c>> {
    let CopyTarget { copying: Copying { table, copy, .. }, limits, .. } = target;
    let failed = |error| Error::writing(writing(*table), &error).of_table(table.traffic_name());
    let mut copied = CopyResult::default();
    let mapping = writer.catalog.mapping(*table);
    let mut encoder = Encoder::new(mapping.targets(), statements::initial_status(*table));
    let mut sink = pin!(writer.session.copy_in::<_, Bytes>(copy).await.map_err(failed)?);
    'rows: for write in rows {
        let row = match mapping.map(&write.row, limits) {
            Ok(row) => row,
            Err(rejection) => {
                copied.rejected.push((write, rejection));
                continue;
            }
        };
        if !encoder.row(&row, write.origin.commit_time) {
            // Dropping the sink cancels the COPY.
            return Err(Error::new(Kind::Row, "a value has no binary form").context(writing(*table)));
        }
        copied.ids.push(row.id);
        if !row.notes.is_empty() {
            copied.noted.push(Mapped { row, origin: write.origin });
        }
        while let Some(piece) = encoder.piece() {
            // `finish` returns the error for which the server takes no more data.
            if sink.send(piece).await.is_err() {
                break 'rows;
            }
            reach(Point::Copying);
        }
    }
    if sink.send(encoder.finish()).await.is_ok() {
        reach(Point::Copying);
    }
    if sink.finish().await.map_err(failed)? != copied.ids.len() as u64 {
        // The upserts find out which row is missing.
        return Err(Error::skipped(writing(*table)));
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{self, Mapping};
    use crate::model::names::Names;

    #[test]
    fn the_columns_whose_types_are_looked_at_are_those_that_are_copied_in_their_order() {
        for table in Table::ALL {
            let mapping = Mapping::whole();
            let (columns, types) = catalog::copied_columns(mapping.of(table));
            let sql = statements::copy(&Names::default(), mapping.of(table));
            assert!(sql.contains(&format!("({})", columns.join(", "))), "{sql}");
            let mapped = mapping::known_targets(table).iter().map(|target| &*target.sql_type);
            let status = statements::initial_status(table).map(|_| "text");
            let sent = ["uuid", "timestamptz"].into_iter().chain(mapped).chain(status);
            assert!(sent.eq(types), "{sql}");
        }
    }
}
