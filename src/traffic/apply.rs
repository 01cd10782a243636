//! Applying a batch: as a whole when every row is good, by bisection when a row is bad.

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::segment::{Resolved, UnchangedToast};
use super::writer::{Applied, CHECK_DEFERRED, RowCounts, Supplied, Writer};
use crate::batch::bisect::{Bisection, between_transactions};
use crate::batch::{Batch, PlanStep, Segment, Write, plan};
use crate::error::{Error, Result, row_refusal};
use crate::failpoint::{Point, reach};
use crate::model::change::{Change, SourcedChange, Table};
use crate::model::lsn::Lsn;
use crate::postgres::step::during;
use crate::quarantine::RefusalCause;
use crate::quarantine::held::KeyOnTraffic;
use crate::quarantine::rows::{Refusal, Refused};

/// Result of applying changes.
pub(super) enum RangeResult {
    /// The changes are applied; the ids are the leads written.
    Done(Vec<Uuid>),
    Missing(Vec<(Table, Uuid)>),
}

/// Result of applying a range of changes as a whole.
pub(super) enum RangeAttempt {
    Done(RangeResult),
    /// The range needs too much memory: bisect it.
    TooLarge,
}

impl Writer {
    /// Applies the changes of `batch` within the open transaction, and opens a transaction when none is open.
    ///
    /// Quarantines a row refused by Traffic. Bisection finds the row among thousands in a few statements.
    /// Ranges stay in commit order, so bisection does not change the result.
    ///
    /// # Errors
    /// Any error except a bad row. The caller must then drop the session.
    pub async fn apply(&mut self, batch: &Batch, supplied: &Supplied) -> Result<Applied> {
        if batch.changes.is_empty() {
            self.begin().await?;
            return Ok(Applied::Done);
        }
        self.begin_batch().await?;
        reach(Point::BatchOpened);
        let applied = self.apply_changes(&batch.changes, supplied, batch.end.is_some()).await?;
        if let Applied::Missing(_) = applied {
            self.execute("undoing a batch on Traffic", "ROLLBACK TO batch").await?;
        }
        Ok(applied)
    }

    /// Applies quarantined changes again, then the quarantined rows that wait for the written leads. Returns
    /// how many of the changes are still quarantined.
    pub(super) async fn reapply(&mut self, changes: &[SourcedChange]) -> Result<usize> {
        self.execute("setting savepoints on Traffic", "SAVEPOINT batch; SAVEPOINT range").await?;
        self.apply_changes(changes, &Supplied::new(), true).await?;
        self.quarantine.count(&self.session, changes).await
    }

    /// Applies changes, then the quarantined rows that wait for the written leads. Deferred constraints first
    /// check all changes together, because a set of rows may be valid only as a whole. If the constraints
    /// refuse the set, all is undone, and the second pass checks each range to find the bad row.
    async fn apply_changes(
        &mut self,
        changes: &[SourcedChange],
        supplied: &Supplied,
        ends: bool,
    ) -> Result<Applied> {
        let counts = self.counts;
        self.checks_ranges = false;
        let refused = match self.apply_with_dependents(changes, supplied).await? {
            RangeResult::Missing(keys) => return Ok(Applied::Missing(keys)),
            RangeResult::Done(_) => row_refusal(self.check_deferred(ends).await)?.is_err(),
        };
        if !refused {
            return Ok(Applied::Done);
        }
        self.execute("undoing a batch on Traffic", "ROLLBACK TO batch; SAVEPOINT range").await?;
        (self.counts, self.checks_ranges) = (counts, true);
        Ok(match self.apply_with_dependents(changes, supplied).await? {
            RangeResult::Done(_) => Applied::Done,
            RangeResult::Missing(keys) => Applied::Missing(keys),
        })
    }

    async fn apply_with_dependents(
        &mut self,
        changes: &[SourcedChange],
        supplied: &Supplied,
    ) -> Result<RangeResult> {
        self.collided = false;
        let mut attempt = self.apply_ranges(changes, supplied).await?;
        if let (RangeResult::Done(leads), Some(last)) = (&mut attempt, changes.last()) {
            leads.extend(self.apply_together(last.origin).await?);
            self.apply_dependents(leads, changes).await?;
        }
        Ok(attempt)
    }

    /// Runs the deferred constraints and triggers for all rows written so far. Unless the transaction `ends`,
    /// a rollback to a savepoint defers the checks again, so the end of the transaction repeats the checks.
    pub(super) async fn check_deferred(&self, ends: bool) -> Result<()> {
        if !self.catalog.may_defer() {
            return Ok(());
        }
        let sql = match ends {
            true => CHECK_DEFERRED.to_owned(),
            false => format!("SAVEPOINT checked; {CHECK_DEFERRED}; ROLLBACK TO checked; RELEASE checked"),
        };

        during(&self.session, "checking deferred constraints on Traffic").write_batch(&sql).await
    }

    /// Applies the quarantined rows of leads that have now been written.
    async fn apply_dependents(&mut self, leads: &[Uuid], changes: &[SourcedChange]) -> Result<()> {
        let Some(now) = changes.last().map(|change| change.origin.commit_time) else { return Ok(()) };
        if !self.may_have_quarantined || leads.is_empty() {
            return Ok(());
        }
        let on_traffic = self.names.traffic_table(Table::LandingLeads);
        for portion in self.quarantine.dependents(&self.session, leads, &on_traffic).await? {
            let waiting = self.quarantine.changes(&self.session, &portion, now).await?;
            self.renew_range().await?;
            self.apply_ranges(&waiting, &Supplied::new()).await?;
            let rows = waiting.len() - self.quarantine.count(&self.session, &waiting).await?;
            if rows > 0 {
                tracing::info!(rows, "rows leave quarantine: their lead has arrived");
            }
        }
        Ok(())
    }

    async fn apply_ranges(&mut self, changes: &[SourcedChange], supplied: &Supplied) -> Result<RangeResult> {
        let mut bisection = Bisection::new(changes, between_transactions);
        let mut leads = Vec::new();
        // Whether work since the savepoint must be kept. The savepoint is renewed before the next range and
        // not after each range, because most batches are one range, and a round trip is most of the cost of a
        // small range.
        let mut done = false;
        while let Some(range) = bisection.next_range() {
            if std::mem::take(&mut done) {
                self.renew_range().await?;
            }
            let counts = self.counts;
            match row_refusal(self.apply_and_check(range, supplied).await)? {
                Ok(RangeAttempt::Done(RangeResult::Done(written))) => {
                    leads.extend(written);
                    done = true;
                }
                Ok(RangeAttempt::Done(missing)) => return Ok(missing),
                Ok(RangeAttempt::TooLarge) => {
                    self.undo_range(counts).await?;
                    if bisection.refuse(range).is_some() {
                        return Err(Error::internal("the values of a single change are too large"));
                    }
                }
                Err(error) => {
                    self.undo_range(counts).await?;
                    // A COPY fails as a whole, so upserts try the range again: all rows may be good.
                    if self.tried_copy {
                        self.may_copy = false;
                        bisection.repeat(range);
                        continue;
                    }
                    // A column of Traffic has become narrower. The next try cuts texts that may be cut.
                    if self.has_narrowed(&error).await? {
                        bisection.repeat(range);
                        continue;
                    }
                    let Some(change) = bisection.refuse(range) else { continue };
                    if error.may_be_of_search_path() && self.passes_elsewhere(range, supplied).await? {
                        return Err(error.into_refused());
                    }
                    if let RangeResult::Missing(keys) =
                        self.quarantine_change(change, &error, supplied).await?
                    {
                        return Ok(RangeResult::Missing(keys));
                    }
                    // Undoing the next range must not undo the quarantine entry.
                    done = true;
                }
            }
        }
        Ok(RangeResult::Done(leads))
    }

    async fn undo_range(&mut self, counts: RowCounts) -> Result<()> {
        self.counts = counts;
        self.execute("undoing a range on Traffic", "ROLLBACK TO range").await
    }

    /// Whether a text is too long because a limit has changed since the last reading. Reads the limits of all
    /// written tables again.
    async fn has_narrowed(&mut self, error: &Error) -> Result<bool> {
        if error.sqlstate() != Some(&SqlState::STRING_DATA_RIGHT_TRUNCATION) {
            return Ok(false);
        }
        let mut changed = false;
        for table in self.written_tables().collect::<Vec<_>>() {
            changed |= self.catalog.renew_limits(&self.session, &self.names, table).await?;
        }
        Ok(changed)
    }

    /// Whether Traffic takes the range under the role's own `search_path`, after a function did not find an
    /// object under an empty `search_path`. If so, no row is at fault, and quarantine would get every row of
    /// the table. Undoes the trial in either case.
    async fn passes_elsewhere(&mut self, range: &[SourcedChange], supplied: &Supplied) -> Result<bool> {
        let counts = self.counts;
        let sql = "SELECT pg_catalog.set_config(s.name, s.reset_val, true) FROM pg_catalog.pg_settings s \
                   WHERE s.name = 'search_path'";
        self.execute("setting the search_path on Traffic", sql).await?;
        let tried = self.apply_and_check(range, supplied).await;
        self.undo_range(counts).await?;
        Ok(row_refusal(tried)?.is_ok())
    }

    async fn apply_and_check(
        &mut self,
        range: &[SourcedChange],
        supplied: &Supplied,
    ) -> Result<RangeAttempt> {
        let applied = self.apply_range(range, supplied).await?;
        if let RangeAttempt::Done(RangeResult::Done(_)) = applied
            && self.checks_ranges
        {
            self.check_deferred(false).await?;
        }
        Ok(applied)
    }

    /// Keeps everything done so far, whatever the result of the next range.
    pub(super) async fn renew_range(&self) -> Result<()> {
        self.execute("renewing a savepoint on Traffic", "RELEASE range; SAVEPOINT range").await
    }

    pub(super) async fn apply_range(
        &mut self,
        range: &[SourcedChange],
        supplied: &Supplied,
    ) -> Result<RangeAttempt> {
        self.tried_copy = false;
        let at = range.last().map_or(Lsn::ZERO, |change| change.origin.commit_lsn);
        let missing = |keys| Ok(RangeAttempt::Done(RangeResult::Missing(keys)));
        let mut leads = Vec::new();
        for step in plan(range) {
            match step {
                PlanStep::Apply(mut segment) => {
                    match self.resolve(&mut segment, supplied, UnchangedToast::MayStay).await? {
                        Resolved::Whole => {}
                        Resolved::Missing(keys) => return missing(keys),
                        Resolved::TooLarge => return Ok(RangeAttempt::TooLarge),
                    }
                    leads.extend(segment.leads.iter().map(|write| write.row.id));
                    let keys = self.apply_segment(segment, supplied, at).await?;
                    if !keys.is_empty() {
                        return missing(keys);
                    }
                }
                PlanStep::ChangeKey(change) => self.change_key(change, at).await?,
                PlanStep::Truncate { tables } => self.truncate(&tables).await?,
            }
        }
        Ok(RangeAttempt::Done(RangeResult::Done(leads)))
    }

    /// Returns the keys of rows missing on Traffic, to be read from Landing. If there are any, the caller
    /// must undo the segment.
    async fn apply_segment(
        &mut self,
        segment: Segment<'_>,
        supplied: &Supplied,
        at: Lsn,
    ) -> Result<Vec<(Table, Uuid)>> {
        let deleted: Vec<_> = segment.deleted().collect();
        let (partial, whole): (Vec<_>, Vec<_>) =
            segment.leads.into_iter().partition(|write| write.row.has_unchanged());
        let arrived = self.write_rows(Table::LandingLeads, &whole, &[]).await?;
        let missing = self.write_partial_updates(partial, supplied).await?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        for children in segment.children.chunk_by(|a, b| a.row.table == b.row.table) {
            if let Some(first) = children.first() {
                self.write_rows(first.row.table, children, &arrived).await?;
            }
        }
        self.delete_rows(&deleted, at).await?;
        Ok(Vec::new())
    }

    /// Quarantines the single change refused by Traffic.
    async fn quarantine_change(
        &mut self,
        change: &SourcedChange,
        error: &Error,
        supplied: &Supplied,
    ) -> Result<RangeResult> {
        let cause = RefusalCause::of(error);
        self.collided |= cause.is_collision();
        let delete =
            |table, id| Refusal { what: Refused::Delete(table, id), origin: change.origin, cause: &cause };
        let mut held = None;
        for step in plan(std::slice::from_ref(change)) {
            match step {
                PlanStep::Apply(mut segment) => {
                    // One change is never too large: there is nothing to split.
                    if let Resolved::Missing(keys) =
                        self.resolve(&mut segment, supplied, UnchangedToast::IsNeeded).await?
                    {
                        return Ok(RangeResult::Missing(keys));
                    }
                    for write in segment.writes() {
                        self.quarantine_write(write, &cause).await?;
                    }
                    for (table, id) in segment.deleted() {
                        self.quarantine_refused(&delete(table, id)).await?;
                    }
                }
                PlanStep::ChangeKey(key) => {
                    let under = self.quarantine_key(key, change.origin.commit_lsn).await?;
                    held = under.map(|under| KeyOnTraffic { table: key.table, id: key.new, under });
                }
                PlanStep::Truncate { .. } => return Err(not_a_row(&change.change, error)),
            }
        }
        if let Some(held) = held
            && !self.quarantine.hold_under(&self.session, held).await?
        {
            // The row is gone from Landing, so quarantine has no entry for the row's new key. A quarantined
            // delete remembers the row that Traffic still holds under another key.
            self.quarantine_refused(&delete(held.table, held.under)).await?;
        }
        Ok(RangeResult::Done(Vec::new()))
    }

    pub(super) async fn quarantine_write(&mut self, write: &Write<'_>, cause: &RefusalCause) -> Result<()> {
        let what = Refused::Write(&write.row, write.operation);
        self.quarantine_refused(&Refusal { what, origin: write.origin, cause }).await
    }

    async fn quarantine_refused(&mut self, refusal: &Refusal<'_>) -> Result<()> {
        self.may_have_quarantined = true;
        self.counts.quarantined += 1;
        self.quarantine.put(&self.session, refusal).await?;
        reach(Point::Quarantined);
        Ok(())
    }
}

fn not_a_row(change: &Change, error: &Error) -> Error {
    let what = if let Change::Truncate { .. } = change { "a TRUNCATE" } else { "a change" };
    Error::refused(format!("{what} of Landing failed on Traffic: {}", error.message()))
        .remedy("nothing of its transaction was applied; remove what forbids it on Traffic, then start again")
}
