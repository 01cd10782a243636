//! Rows that wait for each other's unique values: refused one by one, and valid as a set.

use std::collections::HashSet;

use uuid::Uuid;

use super::apply::{RangeAttempt, RangeResult};
use super::rows::Columns;
use super::statements;
use super::writer::{Supplied, Writer, writing};
use crate::batch::bisect::{Bisection, middle};
use crate::batch::{PlanStep, Write, plan};
use crate::error::{Result, row_refusal};
use crate::mapping;
use crate::model::change::{Origin, SourcedChange, Table};
use crate::postgres::step::during;
use crate::postgres::unique::{self, COLLISIONS, Filler, LARGEST_SET};

/// The leads written with a set, or else the keys of the rows refused even then.
type SetResult = std::result::Result<Vec<Uuid>, HashSet<(Table, Uuid)>>;

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
             AND discarded_at IS NULL ORDER BY last_seen DESC, id DESC LIMIT {LARGEST_SET})",
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
                    set.retain(|change| change.change.key().is_none_or(|key| !refused.contains(&key)));
                }
            }
        }
        Ok(Vec::new())
    }

    /// Returns the leads written, or else the keys of the refused rows: rows refused although no row of the
    /// set is in the way. No keys if the set cannot give up its values.
    async fn try_together(&mut self, set: &[SourcedChange]) -> Result<SetResult> {
        for filler in Filler::ALL {
            match row_refusal(self.give_up(set, filler).await)? {
                Ok(true) => return self.try_each(set).await,
                Ok(false) => {}
                Err(_) => self.execute("undoing a set on Traffic", "ROLLBACK TO range").await?,
            }
        }
        Ok(Err(HashSet::new()))
    }

    /// Lets the rows of the set give up the unique values that are about to change. Returns whether the set
    /// has a column to give up.
    async fn give_up(&mut self, set: &[SourcedChange], filler: Filler) -> Result<bool> {
        let mut any = false;
        for step in plan(set) {
            let PlanStep::Apply(segment) = step else { continue };
            for (table, writes) in segment.tables() {
                any |= self.give_up_in(table, writes, filler).await?;
            }
        }
        Ok(any)
    }

    async fn give_up_in(&mut self, table: Table, writes: &[Write<'_>], filler: Filler) -> Result<bool> {
        let unique = unique::columns(&self.session, &self.names.traffic_table(table)).await?;
        let Some(sql) = statements::give_up(&self.names, table, self.absent(table)?, &unique, filler) else {
            return Ok(false);
        };
        let (mapped, _) = self.map_rows(table, writes.iter());
        let rows = mapped.iter().map(|mapped| (&mapped.row, mapped.origin.commit_time));
        let columns = Columns::new(mapping::targets(table).len(), rows);
        let written = during(&self.session, writing(table)).write(&sql, &columns.parameters()).await;
        written.map_err(|error| error.of_table(table.traffic_name()))?;
        Ok(true)
    }

    /// Writes the rows, and finds the refused rows by bisection, as [`Writer::apply`] does, but quarantines
    /// nothing.
    async fn try_each(&mut self, set: &[SourcedChange]) -> Result<SetResult> {
        let (mut leads, mut refused) = (Vec::new(), HashSet::new());
        let mut bisection = Bisection::new(set, middle);
        self.execute("setting a savepoint on Traffic", "SAVEPOINT member").await?;
        while let Some(range) = bisection.next_range() {
            let counts = self.counts;
            // The images in quarantine are whole, so no key is missing and nothing is too large.
            if let Ok(RangeAttempt::Done(RangeResult::Done(written))) =
                row_refusal(self.apply_range(range, &Supplied::new()).await)?
            {
                leads.extend(written);
                self.execute("renewing a savepoint on Traffic", "RELEASE member; SAVEPOINT member").await?;
                continue;
            }
            self.counts = counts;
            self.execute("undoing a member of a set on Traffic", "ROLLBACK TO member").await?;
            refused.extend(bisection.refuse(range).and_then(|change| change.change.key()));
        }
        Ok(if refused.is_empty() { Ok(leads) } else { Err(refused) })
    }
}
