//! Rows that wait for a unique value which another of them still holds: refused one by one, and written as a set.

use uuid::Uuid;

use super::apply::{RangeAttempt, RangeResult};
use super::rows::Columns;
use super::statements;
use super::writer::{Supplied, Writer};
use crate::batch::{PlanStep, plan};
use crate::change::{Origin, SourcedChange, Table};
use crate::database::unique::{self, Filler};
use crate::error::{Error, Kind, Result};
use crate::mapping;

/// The most rows that are tried as a set: their images are held at a time.
const MOST: usize = 200;

/// What a row collides with: a unique index, or an exclusion constraint.
const COLLISIONS: [&str; 2] = ["23505", "23P01"];

pub(super) fn is_collision(sqlstate: &str) -> bool {
    COLLISIONS.contains(&sqlstate)
}

impl Writer {
    /// Tries to write what waits in quarantine for a unique value, together, once a row has joined them. Whoever is refused
    /// then as well is left out, and the rest is tried again. Answers the leads that were written.
    pub(super) async fn apply_together(&mut self, last: Origin) -> Result<Vec<Uuid>> {
        if !std::mem::take(&mut self.collided) {
            return Ok(Vec::new());
        }
        let filter = format!(
            "id IN (SELECT id FROM {} WHERE sqlstate = ANY ($1) AND row_data IS NOT NULL \
             AND discarded_at IS NULL ORDER BY last_seen DESC, id DESC LIMIT {MOST})",
            self.quarantine.table()
        );
        // Of large rows, as many of the newest as may be held.
        let mut portions = self.quarantine.portions(&self.session, &filter, &[&&COLLISIONS[..]]).await?;
        let newest = portions.pop().unwrap_or_default();
        let mut set = self.quarantine.changes(&self.session, &newest, last.commit_time).await?;
        self.renew_range().await?;
        let counts = self.counts;
        // One alone was refused a moment ago.
        while set.len() > 1 {
            match self.try_together(&set).await? {
                Ok(leads) => {
                    tracing::info!(rows = set.len(), "rows leave quarantine: they are written as a set");
                    self.renew_range().await?;
                    return Ok(leads);
                }
                Err(refused) => {
                    self.counts = counts;
                    self.execute("undoing a set on Traffic", "ROLLBACK TO range").await?;
                    if refused.is_empty() {
                        break;
                    }
                    let mut at = 0..;
                    set.retain(|_| at.next().is_some_and(|at| !refused.contains(&at)));
                }
            }
        }
        Ok(Vec::new())
    }

    /// The leads that were written, or the positions of the rows that are refused even when nobody of the set is in their
    /// way; none when that could not be found out.
    async fn try_together(&mut self, set: &[SourcedChange]) -> Result<Result<Vec<Uuid>, Vec<usize>>> {
        for filler in Filler::ALL {
            match self.give_up(set, filler).await {
                Ok(true) => return self.try_each(set).await,
                Ok(false) => {}
                Err(error) if error.kind() == Kind::Row => {
                    self.execute("undoing a set on Traffic", "ROLLBACK TO range").await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Err(Vec::new()))
    }

    /// Lets the rows of the set give up the unique values that they are about to change. Answers whether there is any.
    async fn give_up(&mut self, set: &[SourcedChange], filler: Filler) -> Result<bool> {
        let mut any = false;
        for step in plan(set) {
            let PlanStep::Apply(segment) = step else { continue };
            let children = segment.children.chunk_by(|a, b| a.row.table == b.row.table);
            for writes in std::iter::once(&*segment.leads).chain(children) {
                let Some(table) = writes.first().map(|write| write.row.table) else { continue };
                any |= self.give_up_in(table, writes, filler).await?;
            }
        }
        Ok(any)
    }

    async fn give_up_in(
        &mut self,
        table: Table,
        writes: &[crate::batch::Write<'_>],
        filler: Filler,
    ) -> Result<bool> {
        let unique = unique::columns(&self.session, &self.names.traffic_table(table)).await?;
        let Some(sql) = statements::give_up(&self.names, table, self.absent(table)?, &unique, filler) else {
            return Ok(false);
        };
        let (mapped, _) = self.map_rows(table, writes.iter());
        let rows = mapped.iter().map(|mapped| (&mapped.row, mapped.origin.commit_time));
        let columns = Columns::new(mapping::targets(table).len(), rows);
        let done = self.session.execute(&sql, &columns.parameters()).await;
        done.map(|_| true)
            .map_err(|error| Error::writing(format!("writing {}", table.traffic_name()), &error))
    }

    /// Writes the rows, and finds those that are refused: as [`Writer::apply`] does, but that nothing is quarantined.
    async fn try_each(&mut self, set: &[SourcedChange]) -> Result<Result<Vec<Uuid>, Vec<usize>>> {
        let (mut leads, mut refused) = (Vec::new(), Vec::new());
        let mut ranges: Vec<_> = std::iter::once(0..set.len()).collect();
        self.execute("setting a savepoint on Traffic", "SAVEPOINT member").await?;
        while let Some(range) = ranges.pop() {
            let Some(changes) = set.get(range.clone()) else { continue };
            let counts = self.counts;
            match self.apply_range(changes, &Supplied::new()).await {
                Ok(RangeAttempt::Done(RangeResult::Done(written))) => {
                    leads.extend(written);
                    self.execute("renewing a savepoint on Traffic", "RELEASE member; SAVEPOINT member")
                        .await?;
                    continue;
                }
                // Refused images are whole: nothing can be missing.
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Row => {}
                Err(error) => return Err(error),
            }
            self.counts = counts;
            self.execute("undoing a member of a set on Traffic", "ROLLBACK TO member").await?;
            let middle = range.start + range.len() / 2;
            match range.len() {
                1 => refused.push(range.start),
                _ => ranges.extend([middle..range.end, range.start..middle]),
            }
        }
        Ok(if refused.is_empty() { Ok(leads) } else { Err(refused) })
    }
}
