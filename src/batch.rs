//! What is applied together: bounds, commit boundaries and the net effect of many changes; pure.

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use crate::change::{Change, Operation, Origin, Position, Row, SourcedChange, Table};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::mapping;
use crate::reached::Reached;

/// Changes in commit order, cut by number and size.
#[derive(Debug, Default)]
pub struct Batch {
    pub changes: Vec<SourcedChange>,
    /// Where the last whole transaction ends. `None` when the batch ends inside a transaction that is larger
    /// than a batch: its Traffic transaction stays open until the batch that has the end.
    pub end: Option<Position>,
    /// Landing transactions that end in this batch.
    pub transactions: u64,
    /// Markers that stand among its transactions, each with its position.
    pub markers: Vec<(Uuid, Lsn)>,
}

impl Batch {
    /// The same changes in so many batches, in their order; the last one has the end. They are cut between transactions
    /// of Landing, each of which is valid as a whole, where there is one near.
    pub fn cut(mut self, parts: usize) -> Vec<Batch> {
        let count = self.changes.len();
        let parts = parts.clamp(1, count.max(1));
        let near = count / parts / 3;
        let mut cut = Vec::with_capacity(parts);
        for part in (1..parts).rev() {
            let at = self.boundary(part * count / parts, near);
            let later = self.changes.split_off(at);
            cut.push(Batch { changes: later, end: self.end.take(), ..Batch::default() });
        }
        cut.push(Batch { changes: self.changes, end: self.end, ..Batch::default() });
        cut.reverse();
        cut
    }

    /// The place between two transactions that is nearest to `at`, or else `at`.
    fn boundary(&self, at: usize, near: usize) -> usize {
        let commit = |at: usize| self.changes.get(at).map(|change| change.origin.commit_lsn);
        let places = at.saturating_sub(near).max(1)..=at.saturating_add(near);
        let between = places.filter(|place| commit(place - 1) != commit(*place));
        between.min_by_key(|place| place.abs_diff(at)).unwrap_or(at)
    }
}

/// How large a batch may grow.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub rows: usize,
    pub bytes: usize,
}

/// Collects changes until a batch is full, or is asked for at a commit boundary.
#[derive(Debug)]
pub struct BatchBuilder {
    limits: BatchLimits,
    /// Where the last batch ended, or the stream began; then where this one ends.
    reached: Reached,
    /// Whole transactions, as far as they have ended.
    whole: Batch,
    /// The changes of the transaction in progress.
    open: Vec<SourcedChange>,
    bytes: usize,
    open_bytes: usize,
}

impl BatchBuilder {
    /// Everything before `from` is applied.
    pub fn new(limits: BatchLimits, from: Position) -> Self {
        let reached = Reached::new(from);
        BatchBuilder { limits, reached, whole: Batch::default(), open: Vec::new(), bytes: 0, open_bytes: 0 }
    }

    /// A change of the transaction in progress.
    pub fn push(&mut self, change: SourcedChange) {
        let size = change.change.size();
        self.bytes += size;
        self.open_bytes += size;
        self.open.push(change);
    }

    /// The transaction in progress ends here.
    ///
    /// # Errors
    /// Internal for a transaction that ends before the position from which the server was to send: it was applied.
    pub fn commit(&mut self, end: Position) -> Result<()> {
        if !self.reached.advance(end) {
            return Err(sent_again(end.lsn, self.reached.lsn()));
        }
        self.whole.changes.append(&mut self.open);
        self.open_bytes = 0;
        self.whole.end = Some(self.reached.position());
        self.whole.transactions += 1;
        Ok(())
    }

    /// A marker, between transactions: the batch may be taken with it.
    pub fn mark(&mut self, id: Uuid, at: Position) {
        self.advance(at);
        self.whole.markers.push((id, at.lsn));
    }

    /// Nothing is in flight up to this position. Ignored unless it is between transactions and does not lie behind.
    pub fn advance(&mut self, to: Position) {
        if self.open.is_empty() && self.reached.advance(to) {
            self.whole.end = Some(self.reached.position());
        }
    }

    /// Too large to grow: take it, wherever it ends.
    pub fn is_full(&self) -> bool {
        self.whole.changes.len() + self.open.len() >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    /// Holds whole transactions, so it may be taken as soon as there is someone to apply it.
    pub fn is_ready(&self) -> bool {
        self.whole.end.is_some()
    }

    /// The whole transactions collected so far; a part of the one in progress only when there are none.
    pub fn take(&mut self) -> Batch {
        if self.is_ready() {
            self.bytes = self.open_bytes;
            return std::mem::take(&mut self.whole);
        }
        (self.bytes, self.open_bytes) = (0, 0);
        Batch { changes: std::mem::take(&mut self.open), ..Batch::default() }
    }

    /// The transaction of the oldest change that has not been taken.
    pub fn oldest(&self) -> Option<Origin> {
        self.whole.changes.first().or(self.open.first()).map(|change| change.origin)
    }
}

pub(crate) fn sent_again(end: Lsn, reached: Lsn) -> Error {
    Error::internal(format!(
        "the stream brings a transaction that ends at {end}, but everything before {reached} was applied"
    ))
}

/// A row to be written, with its latest values.
#[derive(Clone, Debug)]
pub struct Write<'c> {
    pub row: Cow<'c, Row>,
    pub operation: Operation,
    pub origin: Origin,
    /// Nobody had the row before, as far as this replication knows: Landing inserted it within this batch, or a
    /// snapshot read it.
    pub new: bool,
}

/// The net effect of changes that commute: no key is deleted and then written again, and no value that Traffic
/// keeps is written and then left alone.
///
/// Applied in this order, and each list in primary-key order: leads before what refers to them, deletes of
/// leads last. That is right whatever the order of the changes was: a stage that is written belongs to a lead
/// that survives (Landing's foreign key says so), and the stages of a deleted lead are deleted by Landing's
/// cascade in the same transaction.
#[derive(Debug, Default)]
pub struct Segment<'c> {
    pub leads: Vec<Write<'c>>,
    /// Stages and notifications.
    pub children: Vec<Write<'c>>,
    pub deleted_children: Vec<(Table, Uuid)>,
    pub deleted_leads: Vec<Uuid>,
}

impl Segment<'_> {
    pub fn writes(&self) -> impl Iterator<Item = &Write<'_>> {
        self.leads.iter().chain(&self.children)
    }
}

/// One step of a plan; steps are applied in order.
#[derive(Debug)]
pub enum PlanStep<'c> {
    Apply(Segment<'c>),
    ChangeKey { table: Table, old: Uuid, new: Uuid },
    Truncate { tables: Vec<Table> },
}

/// The steps that have the same effect as the changes one after the other.
pub fn plan(changes: &[SourcedChange]) -> Vec<PlanStep<'_>> {
    let mut planner = Planner::default();
    for SourcedChange { origin, change } in changes {
        match change {
            Change::Write { operation, row, old_id } => {
                if let Some(old) = old_id.filter(|old| *old != row.id) {
                    planner.change_key(row.table, old, row.id);
                }
                let new = matches!(operation, Operation::Insert | Operation::Copy);
                planner.write(Write { row: Cow::Borrowed(row), operation: *operation, origin: *origin, new });
            }
            Change::Delete { table, id } => planner.delete(*table, *id),
            Change::Truncate { tables } => {
                planner.close_segment();
                planner.steps.push(PlanStep::Truncate { tables: tables.clone() });
            }
        }
    }
    planner.close_segment();
    planner.steps
}

/// The last thing that happened to a key within the open segment.
enum Last<'c> {
    Written(Write<'c>),
    Deleted,
}

#[derive(Default)]
struct Planner<'c> {
    steps: Vec<PlanStep<'c>>,
    open: HashMap<(Table, Uuid), Last<'c>>,
}

impl<'c> Planner<'c> {
    fn write(&mut self, mut write: Write<'c>) {
        let key = (write.row.table, write.row.id);
        match self.open.get(&key) {
            // A row that is deleted and inserted again loses what Traffic owned of it: both must happen.
            Some(Last::Deleted) => self.close_segment(),
            Some(Last::Written(earlier)) => {
                write.new = earlier.new;
                if write.row.has_unchanged() {
                    write.row.to_mut().fill_unchanged_from(&earlier.row);
                }
                // What the earlier one gave and this one does not, Traffic keeps: as when each is a batch of its own.
                if mapping::leaves_a_value(&earlier.row, &write.row) {
                    self.close_segment();
                    write.new = false;
                }
            }
            None => {}
        }
        self.open.insert(key, Last::Written(write));
    }

    fn delete(&mut self, table: Table, id: Uuid) {
        self.open.insert((table, id), Last::Deleted);
    }

    fn change_key(&mut self, table: Table, old: Uuid, new: Uuid) {
        self.close_segment();
        self.steps.push(PlanStep::ChangeKey { table, old, new });
    }

    fn close_segment(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let mut segment = Segment::default();
        let (mut leads, mut children) = (Vec::new(), Vec::new());
        for ((table, id), last) in self.open.drain() {
            match (last, table) {
                (Last::Written(write), Table::LandingLeads) => leads.push((id, write)),
                (Last::Written(write), _) => children.push(((table, id), write)),
                (Last::Deleted, Table::LandingLeads) => segment.deleted_leads.push(id),
                (Last::Deleted, _) => segment.deleted_children.push((table, id)),
            }
        }
        // One order everywhere: two writers that lock rows in the same order cannot deadlock.
        segment.leads = in_key_order(leads);
        segment.children = in_key_order(children);
        segment.deleted_children.sort_unstable();
        segment.deleted_leads.sort_unstable();
        self.steps.push(PlanStep::Apply(segment));
    }
}

/// The keys stand beside what is sorted by them: a look into each row for each comparison took a sixth of a snapshot's
/// time in this process.
fn in_key_order<'c, K: Ord + Copy>(mut keyed: Vec<(K, Write<'c>)>) -> Vec<Write<'c>> {
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, write)| write).collect()
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
