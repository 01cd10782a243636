//! Inserting rows by COPY: less work for the server than an upsert, and only a first guess.
//!
//! A copied row that Traffic does not take as it is (somebody else has brought its key, a CHECK forbids it) fails the
//! COPY as a whole. It is undone then, and its rows are upserted as always, which finds the one that is bad. So this
//! changes how fast rows are written, and nothing of what is written.

use std::collections::HashSet;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Statement;
use uuid::Uuid;

use super::binary::Encoder;
use super::segment::Mapped;
use super::triggers::TriggerControl;
use super::writer::{Writer, preparing};
use super::{catalog, statements};
use crate::change::Table;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::mapping::{self, TrafficRow};

/// How much is handed to the connection at a time, in bytes.
const PIECE: usize = 64 << 10;

/// How many new rows are worth the round trips that a COPY takes more than one upsert.
pub(super) const WORTHWHILE: usize = 100;

/// What a table's rows are copied with.
pub(super) struct Copying {
    hold: Statement,
    takes_copy: Statement,
    copy: Statement,
    /// Of rows that belong to a lead.
    lock_leads: Option<Statement>,
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
            takes_copy: prepare(catalog::TAKES_COPY).await?,
            copy: prepare(&copy).await?,
            lock_leads: match table.lead_column() {
                Some(_) => Some(prepare(&statements::lock_leads(&self.names)).await?),
                None => None,
            },
        };
        let serves = self.takes_copy(table, &copying).await?;
        self.copying.insert(table, copying);
        Ok(serves)
    }

    /// Whether those of `rows` that are new should be copied.
    pub(super) fn should_copy(&self, table: Table, rows: &[Mapped]) -> bool {
        self.may_copy && self.is_worth_copying(table, rows)
    }

    /// The same, unless a COPY has failed meanwhile.
    pub(super) fn is_worth_copying(&self, table: Table, rows: &[Mapped]) -> bool {
        let new = rows.iter().filter(|mapped| mapped.new).count();
        let worthwhile = new >= WORTHWHILE || (new > 0 && self.new_tables.contains(&table));
        worthwhile && self.copying.contains_key(&table)
    }

    /// Inserts those of `rows`, in primary-key order, that are new. Returns the ids of those that were left out because
    /// their lead is missing; `None` when nothing was inserted, and all are to be upserted.
    pub(super) async fn copy_new(&self, table: Table, rows: &[Mapped]) -> Result<Option<HashSet<Uuid>>> {
        let Some(copying) = self.copying.get(&table) else { return Ok(None) };
        let new: Vec<&Mapped> = rows.iter().filter(|mapped| mapped.new).collect();
        // What the table is like now, it is until the transaction ends. One round trip: they are sent together.
        let hold = async {
            let held = self.session.execute(&copying.hold, &[]).await;
            held.map_err(|error| Error::database(writing(table), &error))
        };
        let orphans = self.orphans(copying, table, &new);
        let (_, serves, orphans) = tokio::try_join!(hold, self.takes_copy(table, copying), orphans)?;
        let Some(orphans) = orphans.filter(|_| serves) else { return Ok(None) };
        let mut encoder = Encoder::new(mapping::targets(table), statements::initial_status(table));
        for Mapped { row, origin, .. } in new.iter().filter(|mapped| !orphans.contains(&mapped.row.id)) {
            if !encoder.row(row, origin.commit_time) {
                return Ok(None);
            }
        }
        self.send(table, &copying.copy, encoder.finish()).await?;
        Ok(Some(orphans))
    }

    async fn takes_copy(&self, table: Table, copying: &Copying) -> Result<bool> {
        let (columns, types) = catalog::copied_columns(table);
        let name = self.names.traffic_table(table);
        let found = self.session.query_opt(&copying.takes_copy, &[&name, &columns, &types]).await;
        Ok(found.map_err(|error| Error::database(writing(table), &error))?.is_some_and(|row| row.get(0)))
    }

    /// The rows whose lead is not on Traffic; the others' leads are locked. `None` when a row names none.
    async fn orphans(
        &self,
        copying: &Copying,
        table: Table,
        rows: &[&Mapped],
    ) -> Result<Option<HashSet<Uuid>>> {
        let Some(lock) = &copying.lock_leads else { return Ok(Some(HashSet::new())) };
        let column = mapping::targets(table).iter().position(|target| target.name == "lead_id");
        let lead = |row: &TrafficRow| row.values.get(column?)?.as_deref()?.parse::<Uuid>().ok();
        let Some(leads) = rows.iter().map(|mapped| lead(&mapped.row)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let mut distinct = leads.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let missing = self.session.query(lock, &[&distinct]).await;
        let missing = missing.map_err(|error| Error::database(writing(table), &error))?;
        let missing: HashSet<Uuid> = missing.iter().map(|row| row.get(0)).collect();
        let orphans = rows.iter().zip(leads).filter(|(_, lead)| missing.contains(lead));
        Ok(Some(orphans.map(|(mapped, _)| mapped.row.id).collect()))
    }

    async fn send(&self, table: Table, copy: &Statement, mut rows: BytesMut) -> Result<()> {
        let failed = |error| Error::database(writing(table), &error);
        let mut sink = pin!(self.session.copy_in::<_, Bytes>(copy).await.map_err(failed)?);
        while !rows.is_empty() {
            let piece = rows.split_to(PIECE.min(rows.len())).freeze();
            // Why the server would take no more, the end says.
            if sink.send(piece).await.is_err() {
                break;
            }
            reach(Point::Copying);
        }
        sink.finish().await.map(|_| ()).map_err(failed)
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
