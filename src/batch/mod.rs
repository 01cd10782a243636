//! Batches: bounds, commit boundaries and the net effect of many changes; pure.

pub mod bisect;
pub mod keys;

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::mapping;
use crate::model::change::{Change, Operation, Origin, Position, Row, SourcedChange, Table};
use crate::model::lsn::Lsn;
use crate::model::reached::Reached;

/// Changes in commit order, bounded in number and size.
#[derive(Debug, Default)]
pub struct Batch {
    pub changes: Vec<SourcedChange>,
    /// End of the last whole transaction. `None` when the batch ends inside a transaction that is larger than
    /// a batch: the Traffic transaction stays open until the batch with the end.
    pub end: Option<Position>,
    /// Number of Landing transactions that end in this batch.
    pub transactions: u64,
    /// Markers between the transactions of this batch, each with the marker's position.
    pub markers: Vec<(Uuid, Lsn)>,
}

impl Batch {
    /// Splits the changes into `parts` batches in the same order; the last batch has the end. A split is
    /// placed between two Landing transactions if a boundary is near, because each transaction is valid as a
    /// whole.
    pub fn cut(mut self, parts: usize) -> Vec<Batch> {
        let count = self.changes.len();
        let parts = parts.clamp(1, count.max(1));
        let near = count / parts / 3;
        let mut cut = Vec::with_capacity(parts);
        for part in (1..parts).rev() {
            let at = bisect::nearest_boundary(&self.changes, part * count / parts, near);
            let later = self.changes.split_off(at);
            cut.push(Batch { changes: later, end: self.end.take(), ..Batch::default() });
        }
        cut.push(Batch { changes: self.changes, end: self.end, ..Batch::default() });
        cut.reverse();
        cut
    }
}

/// Bounds of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub rows: usize,
    pub bytes: usize,
}

/// Collects changes until a batch is full, or until a batch is taken at a commit boundary.
#[derive(Debug)]
pub struct BatchBuilder {
    limits: BatchLimits,
    /// Last position reached: the start of the stream, then the end of the last whole transaction or an idle
    /// position.
    reached: Reached,
    /// Transactions that have ended.
    whole: Batch,
    /// Changes of the transaction in progress.
    open: Vec<SourcedChange>,
    bytes: usize,
    open_bytes: usize,
}

impl BatchBuilder {
    /// `from` is the position before which everything is applied.
    pub fn new(limits: BatchLimits, from: Position) -> Self {
        let reached = Reached::new(from);
        BatchBuilder { limits, reached, whole: Batch::default(), open: Vec::new(), bytes: 0, open_bytes: 0 }
    }

    /// Adds a change to the transaction in progress.
    pub fn push(&mut self, change: SourcedChange) {
        let size = change.change.size();
        self.bytes += size;
        self.open_bytes += size;
        self.open.push(change);
    }

    /// Ends the transaction in progress.
    ///
    /// # Errors
    /// Internal for a transaction that ends before the requested start of the stream, because the transaction
    /// was applied already.
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

    /// Adds a marker between transactions. The batch becomes ready.
    pub fn mark(&mut self, id: Uuid, at: Position) {
        self.advance(at);
        self.whole.markers.push((id, at.lsn));
    }

    /// Advances the end of the batch to an idle position. Ignored inside a transaction, and for a position
    /// before the last position reached.
    pub fn advance(&mut self, to: Position) {
        if self.open.is_empty() && self.reached.advance(to) {
            self.whole.end = Some(self.reached.position());
        }
    }

    /// Whether the batch has reached a bound and must be taken, even inside a transaction.
    pub fn is_full(&self) -> bool {
        self.whole.changes.len() + self.open.len() >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    /// Whether the batch has an end and may be taken as soon as apply is free.
    pub fn is_ready(&self) -> bool {
        self.whole.end.is_some()
    }

    /// Takes the whole transactions collected so far; if there are none, the collected part of the
    /// transaction in progress.
    pub fn take(&mut self) -> Batch {
        if self.is_ready() {
            self.bytes = self.open_bytes;
            return std::mem::take(&mut self.whole);
        }
        (self.bytes, self.open_bytes) = (0, 0);
        Batch { changes: std::mem::take(&mut self.open), ..Batch::default() }
    }

    /// Transaction of the oldest change that has not been taken.
    pub fn oldest(&self) -> Option<Origin> {
        self.whole.changes.first().or(self.open.first()).map(|change| change.origin)
    }
}

pub(crate) fn sent_again(end: Lsn, reached: Lsn) -> Error {
    Error::internal(format!(
        "the stream brings a transaction that ends at {end}, but everything before {reached} was applied"
    ))
}

/// A row to be written, with the latest values.
#[derive(Clone, Debug)]
pub struct Write<'c> {
    pub row: Cow<'c, Row>,
    pub operation: Operation,
    pub origin: Origin,
    /// Whether the row is new as far as replication knows: Landing inserted the row within this batch, or an
    /// initial copy read the row.
    pub new: bool,
}

/// The net effect of changes that commute: no key is deleted and then written again, and no value that
/// Traffic keeps is written and then left alone.
///
/// The lists are applied in the order of the fields, each list in primary-key order: leads before the rows
/// that refer to leads, deletes of leads last. The order is right for every order of the changes. The lead of
/// a written journey entry survives, because Landing's foreign key requires the lead; the journey entries of
/// a deleted lead are deleted by Landing's cascade in the same transaction.
#[derive(Debug, Default)]
pub struct Segment<'c> {
    pub leads: Vec<Write<'c>>,
    /// Journey entries and notifications.
    pub children: Vec<Write<'c>>,
    pub deleted_children: Vec<(Table, Uuid)>,
    pub deleted_leads: Vec<Uuid>,
}

impl Segment<'_> {
    pub fn writes(&self) -> impl Iterator<Item = &Write<'_>> {
        self.leads.iter().chain(&self.children)
    }

    /// The rows to be written, table by table, leads first.
    pub fn tables(&self) -> impl Iterator<Item = (Table, &[Write<'_>])> {
        let children = self.children.chunk_by(|a, b| a.row.table == b.row.table);
        let tables = std::iter::once(&*self.leads).chain(children);
        tables.filter_map(|writes| Some((writes.first()?.row.table, writes)))
    }

    /// The keys to be deleted, leads last.
    pub fn deleted(&self) -> impl Iterator<Item = (Table, Uuid)> {
        let leads = self.deleted_leads.iter().map(|id| (Table::LandingLeads, *id));
        self.deleted_children.iter().copied().chain(leads)
    }
}

/// A row of `table` gets the key `new` for the key `old`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyChange {
    pub table: Table,
    pub old: Uuid,
    pub new: Uuid,
}

/// A step of a plan. Steps are applied in order.
#[derive(Debug)]
pub enum PlanStep<'c> {
    Apply(Segment<'c>),
    ChangeKey(KeyChange),
    Truncate { tables: Vec<Table> },
}

/// Plans the steps that together have the same effect as the changes in sequence.
pub fn plan(changes: &[SourcedChange]) -> Vec<PlanStep<'_>> {
    let mut planner = Planner::default();
    for SourcedChange { origin, change } in changes {
        match change {
            Change::Write { operation, row, old_id } => {
                if let Some(old) = old_id.filter(|old| *old != row.id) {
                    planner.change_key(KeyChange { table: row.table, old, new: row.id });
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

/// Last change of a key within the open segment.
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
            // Both the delete and the insert must be applied, because the delete removes the values that
            // Traffic owned in the row.
            Some(Last::Deleted) => self.close_segment(),
            Some(Last::Written(earlier)) => {
                write.new = earlier.new;
                if write.row.has_unchanged() {
                    write.row.to_mut().fill_unchanged_from(&earlier.row);
                }
                // Traffic keeps a value that the earlier write gave and this write leaves out. Both writes
                // must be applied, with the same result as in batches of their own.
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

    fn change_key(&mut self, change: KeyChange) {
        self.close_segment();
        self.steps.push(PlanStep::ChangeKey(change));
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
        // Keys are sorted because two writers that lock rows in the same order cannot deadlock.
        segment.leads = in_key_order(leads);
        segment.children = in_key_order(children);
        segment.deleted_children.sort_unstable();
        segment.deleted_leads.sort_unstable();
        self.steps.push(PlanStep::Apply(segment));
    }
}

/// Sorts writes by key. The keys are kept next to the writes, because reading the key from the row in each
/// comparison took a sixth of this process's time in an initial copy.
fn in_key_order<'c, K: Ord + Copy>(mut keyed: Vec<(K, Write<'c>)>) -> Vec<Write<'c>> {
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, write)| write).collect()
}

#[cfg(test)]
mod tests;
