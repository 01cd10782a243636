//! Inserting rows by COPY: several times less work for the server than an upsert, and only a first guess.
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
use super::triggers::TriggerControl;
use super::writer::{Writer, preparing};
use super::{catalog, statements};
use crate::change::{Origin, Table};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::mapping::{self, TrafficRow};

/// How much is handed to the connection at a time, in bytes.
const PIECE: usize = 64 << 10;

/// What a table's rows are copied with.
pub(super) struct Copying {
    copy: Statement,
    /// Of rows that belong to a lead.
    lock_leads: Option<Statement>,
}

impl Writer {
    /// Whether the rows of `table` may be inserted by COPY: Traffic holds none from Landing, the table has the shape
    /// that our SQL gives it, and triggers do not run for replicated rows.
    ///
    /// # Errors
    /// The connection broke; the role may not read the table.
    pub async fn may_copy_into(&self, table: Table) -> Result<bool> {
        Ok(self.triggers == TriggerControl::ReplicaRole
            && !catalog::holds_rows_from_landing(&self.session, &self.names, table).await?
            && catalog::takes_copy(&self.session, &self.names, table).await?)
    }

    /// From here on, inserts the rows of `table` by COPY. Each of its keys comes once, and none has a note yet.
    ///
    /// # Errors
    /// The table is gone; the role lacks a privilege; the connection broke.
    pub async fn copy_into(&mut self, table: Table) -> Result<()> {
        let failed = |error| Error::database(preparing(table), &error);
        let copy = self.session.prepare(&statements::copy(&self.names, table)).await.map_err(failed)?;
        let lock_leads = match table.lead_column() {
            Some(_) => {
                Some(self.session.prepare(&statements::lock_leads(&self.names)).await.map_err(failed)?)
            }
            None => None,
        };
        self.copying.insert(table, Copying { copy, lock_leads });
        Ok(())
    }

    /// Inserts rows of one table, in primary-key order. Returns the ids of those that were left out because their
    /// lead is missing; `None` when they must be upserted.
    pub(super) async fn copy_rows(
        &self,
        table: Table,
        rows: &[(TrafficRow, Origin)],
    ) -> Result<Option<HashSet<Uuid>>> {
        let Some(copying) = self.copying.get(&table).filter(|_| self.may_copy) else { return Ok(None) };
        let orphans = match &copying.lock_leads {
            Some(lock) => match self.orphans(lock, table, rows).await? {
                Some(orphans) => orphans,
                None => return Ok(None),
            },
            None => HashSet::new(),
        };
        let mut encoder = Encoder::new(mapping::targets(table), statements::initial_status(table));
        let written = rows.iter().filter(|(row, _)| !orphans.contains(&row.id));
        for (row, origin) in written {
            if !encoder.row(row, origin.commit_time) {
                return Ok(None);
            }
        }
        self.send(table, &copying.copy, encoder.finish()).await?;
        Ok(Some(orphans))
    }

    /// The rows whose lead is not on Traffic; the others' leads are locked. `None` when a row names none.
    async fn orphans(
        &self,
        lock: &Statement,
        table: Table,
        rows: &[(TrafficRow, Origin)],
    ) -> Result<Option<HashSet<Uuid>>> {
        let column = mapping::targets(table).iter().position(|target| target.name == "lead_id");
        let lead = |row: &TrafficRow| row.values.get(column?)?.as_deref()?.parse::<Uuid>().ok();
        let Some(leads) = rows.iter().map(|(row, _)| lead(row)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let mut distinct = leads.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let missing = self.session.query(lock, &[&distinct]).await;
        let missing = missing.map_err(|error| Error::database(writing(table), &error))?;
        let missing: HashSet<Uuid> = missing.iter().map(|row| row.get(0)).collect();
        let orphans = rows.iter().zip(leads).filter(|(_, lead)| missing.contains(lead));
        Ok(Some(orphans.map(|((row, _), _)| row.id).collect()))
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
