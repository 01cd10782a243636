//! Rows that wait for each other's unique values: refused one by one, and valid as a set.

use uuid::Uuid;

use super::apply::{RangeAttempt, RangeResult};
use super::rows::Columns;
use super::statements;
use super::writer::{Supplied, Writer};
use crate::batch::{PlanStep, plan};
use crate::error::{Error, Kind, Result};
use crate::mapping;
use crate::model::change::{Origin, SourcedChange, Table};
use crate::postgres::unique::{self, Filler};

/// The largest number of rows in a set. The images of a set are in memory together.
const MOST: usize = 200;

/// SQLSTATEs of a collision: with a unique index, or with an exclusion constraint.
const COLLISIONS: [&str; 2] = ["23505", "23P01"];

pub(super) fn is_collision(sqlstate: &str) -> bool {
    COLLISIONS.contains(&sqlstate)
}

impl Writer {
    /// Tries to write the rows waiting in quarantine for a unique value as a set, if a row has joined them
    /// since the last try. Leaves out the rows refused even then, and tries the rest again. Returns the leads
    /// written.
    pub(super) async fn apply_together(&mut self, last: Origin) -> Result<Vec<Uuid>> {
        if !std::mem::take(&mut self.collided) {
            return Ok(Vec::new());
        }
        let filter = format!(
            "id IN (SELECT id FROM {} WHERE sqlstate = ANY ($1) AND row_data IS NOT NULL \
             AND discarded_at IS NULL ORDER BY last_seen DESC, id DESC LIMIT {MOST})",
            self.quarantine.table()
        );
        // The last portion has the newest rows, as many as may be held together.
        let mut portions = self.quarantine.portions(&self.session, &filter, &[&&COLLISIONS[..]]).await?;
        let newest = portions.pop().unwrap_or_default();
        let mut set = self.quarantine.changes(&self.session, &newest, last.commit_time).await?;
        self.renew_range().await?;
        let counts = self.counts;
        // A set of one row is not tried, because the row was refused alone a moment ago.
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

    /// Returns the leads written, or else the positions of the refused rows: rows refused although no row of
    /// the set is in the way. No positions if the set cannot give up its values.
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

    /// Lets the rows of the set give up the unique values that are about to change. Returns whether the set
    /// has a column to give up.
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
        let name = table.traffic_name();
        done.map(|_| true).map_err(|error| Error::writing(format!("writing {name}"), &error).of_table(name))
    }

    /// Writes the rows, and finds the refused rows by bisection, as [`Writer::apply`] does, but quarantines
    /// nothing.
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
                // The images in quarantine are whole, so no key is missing and nothing is too large.
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
