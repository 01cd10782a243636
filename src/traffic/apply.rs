//! Applying a batch: as a whole when every row is good, by bisection when a row is bad.

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::unchanged::{Resolved, UnchangedToast, resolve};
use super::upserts::TableWrites;
use super::writer::{BATCH, RANGE, RowCounts, Supplied, Writer};
use super::{deletes, keys, partial_update, together, upserts};
use crate::batch::bisect::{Bisection, between_transactions};
use crate::batch::{Batch, PlanStep, Segment, plan};
use crate::error::{Error, Result, row_refusal};
use crate::failpoint::{Point, reach};
use crate::language::message;
use crate::model::change::{Change, SourcedChange, Table};
use crate::model::lsn::Lsn;
use crate::postgres::write::OWN_SEARCH_PATH;
use crate::quarantine::RefusalCause;
use crate::quarantine::held::KeyOnTraffic;
use crate::quarantine::rows::{Refusal, Refused};

/// Result of applying a batch.
#[derive(Debug)]
pub enum Applied {
    /// Every change is in the open transaction: as a row, or in quarantine.
    Done,
    /// Keys of rows needed whole: read the rows from Landing, and apply the same batch again with the rows.
    /// The transaction is as before the batch.
    Missing(Vec<(Table, Uuid)>),
}

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
        let pass = Pass::new(self, supplied);
        let applied = pass.apply(&batch.changes, batch.end.is_some()).await?;
        if let Applied::Missing(_) = applied {
            BATCH.undo(&self.session).await?;
        }
        Ok(applied)
    }

    /// Applies quarantined changes again, then the quarantined rows that wait for the written leads. Returns
    /// how many of the changes are still quarantined.
    pub(super) async fn reapply(&mut self, changes: &[SourcedChange]) -> Result<usize> {
        self.session.execute("setting savepoints", "SAVEPOINT batch; SAVEPOINT range").await?;
        Pass::new(self, &Supplied::new()).apply(changes, true).await?;
        self.quarantine.count(&self.session, changes).await
    }
}

/// One pass over changes in the open transaction.
struct Pass<'w> {
    writer: &'w mut Writer,
    supplied: &'w Supplied,
    /// Whether deferred constraints check each range, because the constraints have refused the changes as a
    /// whole.
    checks_ranges: bool,
    /// Whether a row was refused for a value held by another row.
    collided: bool,
}

impl<'w> Pass<'w> {
    fn new(writer: &'w mut Writer, supplied: &'w Supplied) -> Self {
        Pass { writer, supplied, checks_ranges: false, collided: false }
    }

    /// Applies changes, then the quarantined rows that wait for the written leads. Deferred constraints first
    /// check all changes together, because a set of rows may be valid only as a whole. If the constraints
    /// refuse the set, all is undone, and a second pass checks each range to find the bad row.
    async fn apply(mut self, changes: &[SourcedChange], ends: bool) -> Result<Applied> {
        let counts = self.writer.counts;
        if let RangeResult::Missing(keys) = self.with_dependents(changes).await? {
            return Ok(Applied::Missing(keys));
        }
        if row_refusal(self.writer.check_deferred(ends).await)?.is_ok() {
            return Ok(Applied::Done);
        }
        let sql = "ROLLBACK TO batch; SAVEPOINT range";
        self.writer.session.execute("undoing a batch", sql).await?;
        self.writer.counts = counts;
        let mut second = Pass { checks_ranges: true, collided: false, ..self };
        Ok(match second.with_dependents(changes).await? {
            RangeResult::Done(_) => Applied::Done,
            RangeResult::Missing(keys) => Applied::Missing(keys),
        })
    }

    async fn with_dependents(&mut self, changes: &[SourcedChange]) -> Result<RangeResult> {
        let mut result = self.ranges(changes).await?;
        if let (RangeResult::Done(leads), Some(last)) = (&mut result, changes.last()) {
            if self.collided {
                leads.extend(together::apply(self.writer, last.origin).await?);
            }
            self.dependents(leads, last).await?;
        }
        Ok(result)
    }

    /// Applies the quarantined rows of leads that have now been written, at the time of the change `last`.
    async fn dependents(&mut self, leads: &[Uuid], last: &SourcedChange) -> Result<()> {
        if !self.writer.may_have_quarantined || leads.is_empty() {
            return Ok(());
        }
        let on_traffic = self.writer.names.traffic_table(Table::LandingLeads);
        let portions = self.writer.quarantine.dependents(&self.writer.session, leads, &on_traffic).await?;
        for portion in portions {
            let Writer { quarantine, session, .. } = &*self.writer;
            let waiting = quarantine.changes(session, &portion, last.origin.commit_time).await?;
            RANGE.renew(session).await?;
            self.ranges(&waiting).await?;
            let Writer { quarantine, session, .. } = &*self.writer;
            let rows = waiting.len() - quarantine.count(session, &waiting).await?;
            if rows > 0 {
                tracing::info!(rows, "rows leave quarantine: their lead has arrived");
            }
        }
        Ok(())
    }

    async fn ranges(&mut self, changes: &[SourcedChange]) -> Result<RangeResult> {
        let mut bisection = Bisection::new(changes, between_transactions);
        let mut leads = Vec::new();
        // Whether work since the savepoint must be kept. The savepoint is renewed before the next range and
        // not after each range, because most batches are one range, and a round trip is most of the cost of a
        // small range.
        let mut done = false;
        while let Some(range) = bisection.next_range() {
            if std::mem::take(&mut done) {
                RANGE.renew(&self.writer.session).await?;
            }
            let counts = self.writer.counts;
            match row_refusal(self.attempt(range).await)? {
                Ok(RangeAttempt::Done(RangeResult::Done(written))) => {
                    leads.extend(written);
                    done = true;
                }
                Ok(RangeAttempt::Done(missing)) => return Ok(missing),
                Ok(RangeAttempt::TooLarge) => {
                    self.undo(counts).await?;
                    if bisection.refuse(range).is_some() {
                        return Err(Error::internal("the values of a single change are too large"));
                    }
                }
                Err(error) => {
                    self.undo(counts).await?;
                    // Whether the range may succeed as a whole after all.
                    if self.writer.copying.has_failed() || self.has_narrowed(&error).await? {
                        bisection.repeat(range);
                        continue;
                    }
                    let Some(change) = bisection.refuse(range) else { continue };
                    if error.may_be_of_search_path() && self.passes_elsewhere(range).await? {
                        return Err(error.into_refused());
                    }
                    if let RangeResult::Missing(keys) = self.quarantine(change, &error).await? {
                        return Ok(RangeResult::Missing(keys));
                    }
                    // Undoing the next range must not undo the quarantine entry.
                    done = true;
                }
            }
        }
        Ok(RangeResult::Done(leads))
    }

    async fn attempt(&mut self, range: &[SourcedChange]) -> Result<RangeAttempt> {
        let applied = apply_range(self.writer, range, self.supplied).await?;
        if let RangeAttempt::Done(RangeResult::Done(_)) = applied
            && self.checks_ranges
        {
            self.writer.check_deferred(false).await?;
        }
        Ok(applied)
    }

    async fn undo(&mut self, counts: RowCounts) -> Result<()> {
        self.writer.counts = counts;
        RANGE.undo(&self.writer.session).await
    }

    /// Whether a text is too long because a column of Traffic has become narrower since the last reading of
    /// the limits. The next attempt cuts texts that may be cut. Reads the limits of all written tables again.
    async fn has_narrowed(&mut self, error: &Error) -> Result<bool> {
        if error.sqlstate() != Some(&SqlState::STRING_DATA_RIGHT_TRUNCATION) {
            return Ok(false);
        }
        let mut changed = false;
        for table in self.writer.written_tables().collect::<Vec<_>>() {
            changed |= self.writer.renew_limits(table).await?;
        }
        Ok(changed)
    }

    /// Whether Traffic takes the range under the role's own `search_path`, after a function did not find an
    /// object under an empty `search_path`. If so, no row is at fault, and quarantine would get every row of
    /// the table. Undoes the trial in either case.
    async fn passes_elsewhere(&mut self, range: &[SourcedChange]) -> Result<bool> {
        let counts = self.writer.counts;
        self.writer.session.execute("setting the search_path", OWN_SEARCH_PATH).await?;
        let tried = self.attempt(range).await;
        self.undo(counts).await?;
        Ok(row_refusal(tried)?.is_ok())
    }

    /// Quarantines the single change refused by Traffic.
    async fn quarantine(&mut self, change: &SourcedChange, error: &Error) -> Result<RangeResult> {
        let (writer, cause) = (&mut *self.writer, RefusalCause::of(error));
        self.collided |= cause.is_collision();
        let delete =
            |table, id| Refusal { what: Refused::Delete(table, id), origin: change.origin, cause: &cause };
        let mut held = None;
        for step in plan(std::slice::from_ref(change)) {
            match step {
                PlanStep::Apply(mut segment) => {
                    let toast = UnchangedToast::IsNeeded(self.supplied);
                    // One change is never too large: there is nothing to split.
                    if let Resolved::Missing(keys) = resolve(writer, &mut segment, toast).await? {
                        return Ok(RangeResult::Missing(keys));
                    }
                    for write in segment.writes() {
                        writer.quarantine_write(write, &cause).await?;
                    }
                    for (table, id) in segment.deleted() {
                        writer.quarantine(&delete(table, id)).await?;
                    }
                }
                PlanStep::ChangeKey(key) => {
                    let under = keys::quarantine(writer, key, change.origin.commit_lsn).await?;
                    held = under.map(|under| KeyOnTraffic { table: key.table, id: key.new, under });
                }
                PlanStep::Truncate { .. } => return Err(not_a_row(&change.change, error)),
            }
        }
        if let Some(held) = held
            && !writer.quarantine.hold_under(&writer.session, held).await?
        {
            // The row is gone from Landing, so quarantine has no entry for the row's new key. A quarantined
            // delete remembers the row that Traffic still holds under another key.
            writer.quarantine(&delete(held.table, held.under)).await?;
        }
        Ok(RangeResult::Done(Vec::new()))
    }
}

pub(super) async fn apply_range(
    writer: &mut Writer,
    range: &[SourcedChange],
    supplied: &Supplied,
) -> Result<RangeAttempt> {
    writer.copying.begin_range();
    let at = range.last().map_or(Lsn::ZERO, |change| change.origin.commit_lsn);
    let mut leads = Vec::new();
    for step in plan(range) {
        let missing = match step {
            PlanStep::Apply(mut segment) => {
                match resolve(writer, &mut segment, UnchangedToast::MayStay(supplied)).await? {
                    Resolved::Whole => {}
                    Resolved::Missing(keys) => return Ok(RangeAttempt::Done(RangeResult::Missing(keys))),
                    Resolved::TooLarge => return Ok(RangeAttempt::TooLarge),
                }
                leads.extend(segment.leads.iter().map(|write| write.row.id));
                apply_segment(writer, segment, (supplied, at)).await?
            }
            PlanStep::ChangeKey(change) => {
                keys::change(writer, change, at).await?;
                Vec::new()
            }
            PlanStep::Truncate { tables } => {
                deletes::truncate(writer, &tables).await?;
                Vec::new()
            }
        };
        if !missing.is_empty() {
            return Ok(RangeAttempt::Done(RangeResult::Missing(missing)));
        }
    }
    Ok(RangeAttempt::Done(RangeResult::Done(leads)))
}

/// Returns the keys of rows missing on Traffic, to be read from Landing. If there are any, the caller must
/// undo the segment. Deletes get the position `at` in quarantine entries.
async fn apply_segment(
    writer: &mut Writer,
    segment: Segment<'_>,
    (supplied, at): (&Supplied, Lsn),
) -> Result<Vec<(Table, Uuid)>> {
    let deleted: Vec<_> = segment.deleted().collect();
    let (partial, whole): (Vec<_>, Vec<_>) =
        segment.leads.into_iter().partition(|write| write.row.has_unchanged());
    let leads = TableWrites { table: Table::LandingLeads, writes: &whole, present: &[] };
    let arrived = upserts::write(writer, leads).await?;
    let missing = partial_update::write(writer, partial, supplied).await?;
    if !missing.is_empty() {
        return Ok(missing);
    }
    for writes in segment.children.chunk_by(|a, b| a.row.table == b.row.table) {
        if let Some(first) = writes.first() {
            let children = TableWrites { table: first.row.table, writes, present: &arrived };
            upserts::write(writer, children).await?;
        }
    }
    deletes::delete_rows(writer, &deleted, at).await?;
    Ok(Vec::new())
}

fn not_a_row(change: &Change, error: &Error) -> Error {
    let what = if let Change::Truncate { .. } = change { "a TRUNCATE" } else { "a change" };
    Error::refused(format!("{what} of Landing failed on Traffic: {}", error.message()))
        .remedy(message!("traffic-remedy-not-a-row"))
}
