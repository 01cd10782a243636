//! Applying a batch: all at once when every row is good, and by halves around a bad one.

use uuid::Uuid;

use super::quarantine::{Cause, Parked};
use super::segment::{Resolved, Unsent};
use super::writer::{Applied, Supplied, Writer};
use crate::batch::{Batch, Segment, Step, Write, plan};
use crate::change::{Change, Operation, Origin, SourcedChange, Table};
use crate::config::OnTruncate;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};

/// What became of changes.
enum Attempt {
    /// Applied; these leads were written.
    Done(Vec<Uuid>),
    Missing(Vec<(Table, Uuid)>),
}

/// What became of a range of changes that was applied at once.
enum AtOnce {
    Attempted(Attempt),
    /// Not to be applied at once: by halves.
    TooLarge,
}

impl Writer {
    /// Applies the changes of `batch` within the open transaction, which it opens when there is none.
    ///
    /// A row that Traffic does not take is parked; finding it among thousands costs a few statements, since a
    /// range that fails is split in halves. Ranges stay in commit order, so a split changes no result.
    ///
    /// # Errors
    /// Anything but a bad row. The session must then be dropped.
    pub async fn apply(&mut self, batch: &Batch, supplied: &Supplied) -> Result<Applied> {
        if batch.changes.is_empty() {
            self.begin().await?;
            return Ok(Applied::Done);
        }
        self.begin_batch().await?;
        reach(Point::BatchOpened);
        let leads = match self.apply_ranges(&batch.changes, supplied).await? {
            Attempt::Done(leads) => leads,
            Attempt::Missing(keys) => {
                self.execute("undoing a batch on Traffic", "ROLLBACK TO batch").await?;
                return Ok(Applied::Missing(keys));
            }
        };
        self.apply_dependents(&leads, &batch.changes).await?;
        Ok(Applied::Done)
    }

    /// Applies parked changes again, and what waited for them. Returns how many of them are parked still.
    pub(super) async fn reapply(&mut self, changes: &[SourcedChange]) -> Result<usize> {
        self.execute("setting a savepoint on Traffic", "SAVEPOINT range").await?;
        if let Attempt::Done(leads) = self.apply_ranges(changes, &Supplied::new()).await? {
            self.apply_dependents(&leads, changes).await?;
        }
        self.quarantine.count(&self.session, changes).await
    }

    /// Rows that waited in quarantine for a lead that has now been written.
    async fn apply_dependents(&mut self, leads: &[Uuid], changes: &[SourcedChange]) -> Result<()> {
        let Some(now) = changes.last().map(|change| change.origin.commit_time) else { return Ok(()) };
        if !self.may_have_quarantined || leads.is_empty() {
            return Ok(());
        }
        let on_traffic = self.names.traffic_table(Table::LandingLeads);
        let waiting = self.quarantine.dependents(&self.session, leads, &on_traffic, now).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        self.renew_range().await?;
        self.apply_ranges(&waiting, &Supplied::new()).await?;
        let rows = waiting.len() - self.quarantine.count(&self.session, &waiting).await?;
        if rows > 0 {
            tracing::info!(rows, "rows leave quarantine: their lead has arrived");
        }
        Ok(())
    }

    async fn apply_ranges(&mut self, changes: &[SourcedChange], supplied: &Supplied) -> Result<Attempt> {
        let mut ranges = vec![changes];
        let mut leads = Vec::new();
        // Whether something was done since the savepoint that must stay. Looked at before the next range, not
        // after each: most batches are one range, and a round trip is most of what a small one costs.
        let mut done = false;
        while let Some(range) = ranges.pop() {
            if std::mem::take(&mut done) {
                self.renew_range().await?;
            }
            match self.apply_range(range, supplied).await {
                Ok(AtOnce::Attempted(Attempt::Done(written))) => {
                    leads.extend(written);
                    done = true;
                }
                Ok(AtOnce::Attempted(missing)) => return Ok(missing),
                Ok(AtOnce::TooLarge) => {
                    self.execute("undoing a range on Traffic", "ROLLBACK TO range").await?;
                    let (first, second) = range.split_at(range.len() / 2);
                    ranges.extend([second, first]);
                }
                Err(error) if error.kind() == Kind::Row => {
                    self.execute("undoing a range on Traffic", "ROLLBACK TO range").await?;
                    match range {
                        // COPY was the first guess: the upserts may take every row, and find the one they do not.
                        _ if self.tried_copy => {
                            self.may_copy = false;
                            ranges.push(range);
                        }
                        [] => {}
                        [change] => {
                            if let Attempt::Missing(keys) = self.park(change, &error, supplied).await? {
                                return Ok(Attempt::Missing(keys));
                            }
                            // The next range's undoing must not take the parked row with it.
                            done = true;
                        }
                        _ => {
                            let (first, second) = range.split_at(range.len() / 2);
                            ranges.extend([second, first]);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Attempt::Done(leads))
    }

    /// What was done so far stays, whatever becomes of the next range.
    async fn renew_range(&self) -> Result<()> {
        self.execute("renewing a savepoint on Traffic", "RELEASE range; SAVEPOINT range").await
    }

    async fn apply_range(&mut self, range: &[SourcedChange], supplied: &Supplied) -> Result<AtOnce> {
        self.tried_copy = false;
        let missing = |keys| Ok(AtOnce::Attempted(Attempt::Missing(keys)));
        let mut leads = Vec::new();
        for step in plan(range) {
            match step {
                Step::Apply(mut segment) => {
                    match self.resolve(&mut segment, supplied, Unsent::MayStay).await? {
                        Resolved::Whole => {}
                        Resolved::Missing(keys) => return missing(keys),
                        Resolved::TooLarge => return Ok(AtOnce::TooLarge),
                    }
                    leads.extend(segment.leads.iter().map(|write| write.row.id));
                    let keys = self.apply_segment(segment, supplied).await?;
                    if !keys.is_empty() {
                        return missing(keys);
                    }
                }
                Step::ChangeKey { table, old, new } => self.change_key(table, old, new).await?,
                Step::Truncate { tables } => self.truncate(&tables).await?,
            }
        }
        Ok(AtOnce::Attempted(Attempt::Done(leads)))
    }

    /// Returns the keys that only Landing can supply; then what was done is to be undone.
    async fn apply_segment(
        &mut self,
        segment: Segment<'_>,
        supplied: &Supplied,
    ) -> Result<Vec<(Table, Uuid)>> {
        let (partial, whole): (Vec<_>, Vec<_>) =
            segment.leads.into_iter().partition(|write| write.row.has_unchanged());
        let arrived = self.write_rows(Table::LandingLeads, &whole, &[]).await?;
        let missing = self.write_beside_metadata(partial, supplied).await?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        for children in segment.children.chunk_by(|a, b| a.row.table == b.row.table) {
            if let Some(first) = children.first() {
                self.write_rows(first.row.table, children, &arrived).await?;
            }
        }
        let leads = segment.deleted_leads.iter().map(|id| (Table::LandingLeads, *id));
        let deleted: Vec<_> = segment.deleted_children.iter().copied().chain(leads).collect();
        self.delete_rows(&deleted).await?;
        Ok(Vec::new())
    }

    /// Deletes run with triggers on, so that their cascades reach Traffic's own rows. Children come first.
    async fn delete_rows(&mut self, deleted: &[(Table, Uuid)]) -> Result<()> {
        if deleted.is_empty() {
            return Ok(());
        }
        self.execute("switching triggers on", self.triggers.restore()).await?;
        for group in deleted.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(table, _)) = group.first() else { continue };
            let ids: Vec<Uuid> = group.iter().map(|(_, id)| *id).collect();
            self.session.execute(self.delete(table).await?, &[&ids]).await.map_err(|error| {
                Error::database(format!("deleting from {}", table.traffic_name()), &error)
            })?;
            reach(Point::Deleted);
            self.settle(table, &ids, &ids, &[]).await?;
        }
        self.execute("switching triggers off", self.triggers.suppress()).await
    }

    async fn truncate(&mut self, tables: &[Table]) -> Result<()> {
        if self.on_truncate == OnTruncate::Stop {
            let names: Vec<_> = tables.iter().map(|table| table.landing_name()).collect();
            return Err(Error::refused(format!("TRUNCATE on Landing of {}", names.join(", "))).remedy(
                "nothing was applied; to delete the rows that came from Landing on Traffic too, set \
                 on_truncate = \"apply\" and start again",
            ));
        }
        self.execute("switching triggers on", self.triggers.restore()).await?;
        // Children first, so that a lead's cascade finds nothing left to do.
        for table in Table::ALL.into_iter().rev().filter(|table| tables.contains(table)) {
            let sql = format!(
                "DELETE FROM {} WHERE landing_synced_at IS NOT NULL",
                self.names.traffic_table(table)
            );
            self.execute("applying a TRUNCATE", &sql).await?;
            self.quarantine.release_table(&self.session, table).await?;
            self.notes.forget_table(&self.session, table).await?;
        }
        self.execute("switching triggers off", self.triggers.suppress()).await
    }

    /// Parks the one change that Traffic did not take.
    async fn park(&mut self, change: &SourcedChange, error: &Error, supplied: &Supplied) -> Result<Attempt> {
        let cause = Cause::of(error);
        for step in plan(std::slice::from_ref(change)) {
            match step {
                Step::Apply(mut segment) => {
                    // One change is never too large: there is nothing to split.
                    if let Resolved::Missing(keys) =
                        self.resolve(&mut segment, supplied, Unsent::IsNeeded).await?
                    {
                        return Ok(Attempt::Missing(keys));
                    }
                    for write in segment.writes() {
                        self.park_write(write, &cause).await?;
                    }
                    let leads = segment.deleted_leads.iter().map(|id| (Table::LandingLeads, *id));
                    for (table, id) in segment.deleted_children.iter().copied().chain(leads) {
                        self.park_parked(
                            Parked::Delete { table, id },
                            Operation::Delete,
                            change.origin,
                            &cause,
                        )
                        .await?;
                    }
                }
                Step::ChangeKey { table, old, new } => {
                    self.park_key(table, old, new, change.origin, &cause).await?;
                }
                Step::Truncate { .. } => return Err(not_a_row(&change.change, error)),
            }
        }
        Ok(Attempt::Done(Vec::new()))
    }

    /// The parked row has another key now. What Traffic holds of it, an older image, gets that key too: the row that
    /// is parked and the row that is there stay one and the same. When even that fails (the new key is taken), the
    /// older image stays for now, and its removal waits beside the row: else nobody would remember it.
    async fn park_key(
        &mut self,
        table: Table,
        old: Uuid,
        new: Uuid,
        origin: Origin,
        cause: &Cause,
    ) -> Result<()> {
        self.execute("setting a savepoint on Traffic", "SAVEPOINT key").await?;
        match self.change_key(table, old, new).await {
            Ok(()) => self.execute("releasing a savepoint on Traffic", "RELEASE key").await,
            Err(error) if error.kind() == Kind::Row => {
                self.execute("undoing a changed key on Traffic", "ROLLBACK TO key; RELEASE key").await?;
                self.quarantine.change_key(&self.session, table, old, new).await?;
                let removal = Parked::Delete { table, id: old };
                self.park_parked(removal, Operation::Delete, origin, cause).await
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn park_write(&mut self, write: &Write<'_>, cause: &Cause) -> Result<()> {
        self.park_parked(Parked::Row(&write.row), write.operation, write.origin, cause).await
    }

    async fn park_parked(
        &mut self,
        what: Parked<'_>,
        operation: Operation,
        origin: Origin,
        cause: &Cause,
    ) -> Result<()> {
        self.may_have_quarantined = true;
        self.quarantine.park(&self.session, what, operation, origin, cause).await?;
        reach(Point::Parked);
        Ok(())
    }
}

fn not_a_row(change: &Change, error: &Error) -> Error {
    let what = if let Change::Truncate { .. } = change { "a TRUNCATE" } else { "a change" };
    Error::refused(format!("{what} of Landing failed on Traffic: {}", error.message()))
        .remedy("nothing of its transaction was applied; remove what forbids it on Traffic, then start again")
}
