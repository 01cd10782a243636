//! Collects the changes of a stream into batches: whole transactions, unless one transaction is larger than a
//! batch. Both directions collect in the same way; only the content of a batch differs ([`Changes`]).

use uuid::Uuid;

use super::bisect;
use crate::error::{Error, Result};
use crate::model::budget::{LONG_ROW, LONG_ROWS};
use crate::model::change::{Change, Origin, Position, Row, SourcedChange};
use crate::model::lsn::Lsn;
use crate::model::reached::Reached;
use crate::model::timestamp::Timestamp;

/// Content of a batch: rows in commit order (forward), or the keys of changed rows (reverse).
pub trait Changes: Default {
    /// Content of a written row.
    type Row;

    /// Begins a transaction, or the next part of a transaction.
    fn begin(&mut self, _origin: Origin) {}

    fn add(&mut self, change: SourcedChange<Self::Row>);

    /// Moves a later transaction to the end, and leaves `later` empty.
    fn absorb(&mut self, later: &mut Self);

    fn rows(&self) -> usize;

    /// Bytes that count towards [`BatchLimits::bytes`].
    fn size(change: &Change<Self::Row>) -> usize;
}

impl Changes for Vec<SourcedChange> {
    type Row = Row;

    fn add(&mut self, change: SourcedChange) {
        self.push(change);
    }

    fn absorb(&mut self, later: &mut Self) {
        self.append(later);
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn size(change: &Change) -> usize {
        change.size()
    }
}

/// Whole transactions in commit order, or a part of one transaction; bounded in number and size.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch<C = Vec<SourcedChange>> {
    pub changes: C,
    /// End of the last whole transaction. `None` when the batch ends inside a transaction that is larger than
    /// a batch: the transaction on the target stays open until the batch with the end.
    pub end: Option<Position>,
    /// Number of the source's transactions that end in this batch.
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
    /// Maximum number of rows, and of transactions, because many transactions may touch the same few keys.
    pub rows: usize,
    pub bytes: usize,
}

/// Collects changes until a batch is full, or until a batch is taken at a commit boundary.
#[derive(Debug)]
pub struct Collector<C = Vec<SourcedChange>> {
    limits: BatchLimits,
    /// Last position reached: the start of the stream, then the end of the last whole transaction or an idle
    /// position.
    reached: Reached,
    /// Transactions that have ended.
    whole: Batch<C>,
    /// Commit time of the first transaction in `whole`.
    whole_since: Option<Timestamp>,
    /// Changes of the transaction in progress that were not taken.
    open: C,
    /// Origin of the transaction in progress.
    transaction: Option<Origin>,
    bytes: Held,
    open_bytes: Held,
}

/// Bytes of collected rows.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    all: usize,
    /// Bytes of the rows whose messages may be long ([`LONG_ROW`]).
    long: usize,
}

impl Held {
    fn add(&mut self, size: usize) {
        self.all += size;
        // A row that keeps its message has about half the message's size at least.
        self.long += if size >= LONG_ROW / 4 { size } else { 0 };
    }
}

impl<C: Changes> Collector<C> {
    /// `from` is the position before which everything is applied.
    pub fn new(limits: BatchLimits, from: Position) -> Self {
        Collector {
            limits,
            reached: Reached::new(from),
            whole: Batch::default(),
            whole_since: None,
            open: C::default(),
            transaction: None,
            bytes: Held::default(),
            open_bytes: Held::default(),
        }
    }

    pub fn begin(&mut self, origin: Origin) {
        self.transaction = Some(origin);
        self.open.begin(origin);
    }

    /// Adds a change to the transaction in progress.
    pub fn push(&mut self, change: SourcedChange<C::Row>) {
        if self.transaction.is_none() {
            self.begin(change.origin);
        }
        let size = C::size(&change.change);
        self.bytes.add(size);
        self.open_bytes.add(size);
        self.open.add(change);
    }

    /// Ends the transaction in progress.
    ///
    /// # Errors
    /// Internal for a transaction that ends before the requested start of the stream, because the transaction
    /// was applied already.
    pub fn commit(&mut self, end: Position) -> Result<()> {
        if !self.reached.advance(end) {
            return Err(Error::internal(format!(
                "the stream brings a transaction that ends at {}, but everything before {} was applied",
                end.lsn,
                self.reached.lsn()
            )));
        }
        let transaction = self.transaction.take();
        self.whole_since = self.whole_since.or(transaction.map(|origin| origin.commit_time));
        self.whole.changes.absorb(&mut self.open);
        self.open_bytes = Held::default();
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
        if self.transaction.is_none() && self.reached.advance(to) {
            self.whole.end = Some(self.reached.position());
        }
    }

    /// Last position that a batch has, or will have, as its end.
    pub fn reached(&self) -> Lsn {
        self.reached.lsn()
    }

    /// Number and bytes of the collected changes that were not taken.
    pub fn waiting(&self) -> (usize, usize) {
        (self.whole.changes.rows() + self.open.rows(), self.bytes.all)
    }

    /// Whether the batch has reached a bound and must be taken, even inside a transaction.
    pub fn is_full(&self) -> bool {
        self.whole.changes.rows() + self.open.rows() >= self.limits.rows
            || self.whole.transactions >= self.limits.rows as u64
            // Any role may write markers.
            || self.whole.markers.len() >= self.limits.rows
            || self.bytes.all >= self.limits.bytes
            || self.bytes.long >= LONG_ROWS
    }

    /// Whether the batch has an end and may be taken as soon as apply is free.
    pub fn is_ready(&self) -> bool {
        self.whole.end.is_some()
    }

    /// Takes the whole transactions collected so far; if there are none, the collected part of the
    /// transaction in progress.
    pub fn take(&mut self) -> Batch<C> {
        if self.is_ready() {
            self.bytes = self.open_bytes;
            self.whole_since = None;
            return std::mem::take(&mut self.whole);
        }
        (self.bytes, self.open_bytes) = (Held::default(), Held::default());
        let part = std::mem::take(&mut self.open);
        if let Some(origin) = self.transaction {
            self.open.begin(origin);
        }
        Batch { changes: part, ..Batch::default() }
    }

    /// Commit time of the oldest transaction that was not taken as a whole, including a transaction that has
    /// only begun.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.whole_since.or(self.transaction.map(|origin| origin.commit_time))
    }
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
