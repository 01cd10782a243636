//! The workers of an initial copy: each reads ranges of a table from Landing and writes the rows to Traffic.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Context;
use super::indexes::Indexes;
use super::liveness::Work;
use crate::batch::{Batch, BatchLimits, Collector};
use crate::capture::layout::Layout;
use crate::checkpoint::{Ledger, Published};
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::landing::ranges::Range;
use crate::landing::snapshot::{CopiedFrom, LargeRows, RowStream, SnapshotReader};
use crate::model::change::{Change, Operation, Origin, Position, SourcedChange};
use crate::traffic::{Supplied, Writer};

/// A worker reads the next batch from Landing while the current batch is written to Traffic.
pub struct CopyWorker {
    pub reader: SnapshotReader,
    pub reading: Work,
    pub writer: Writer,
    pub writing: Work,
}

/// A table while the workers copy its rows: the state that the workers share.
pub struct CopiedTable {
    pub context: Arc<Context>,
    pub ledger: Ledger,
    pub published: Published,
    pub layout: Layout,
    pub origin: Origin,
    pub indexes: Arc<Indexes>,
    pub ranges: Mutex<VecDeque<Range>>,
    pub may_hold_large: bool,
    /// Rows that are copied one by one, after all ranges ([`LargeRows::alone`]).
    pub alone: Mutex<VecDeque<String>>,
    pub done: Arc<AtomicU64>,
    pub started: Instant,
}

pub async fn copy_ranges(shared: Arc<CopiedTable>, worker: CopyWorker) -> Result<CopyWorker> {
    let CopyWorker { reader, reading, mut writer, writing } = worker;
    let mut source = CopySource::new(&shared, &reader, &reading);
    let mut batch = source.next_batch().await?;
    while !batch.changes.is_empty() && !shared.context.shutdown.is_cancelled() {
        // Either future may be dropped when the other fails, because an error ends the whole copy.
        let written = shared.write(&batch, &mut writer, &writing);
        let (next, ()) = tokio::try_join!(source.next_batch(), written)?;
        batch = next;
    }
    Ok(CopyWorker { reader, reading, writer, writing })
}

/// Copies the rows that must be alone in memory. A row is read after the row before is written, and by one
/// worker only, because a connection keeps the buffer of the largest message that it took or sent.
pub async fn copy_alone(shared: &CopiedTable, worker: &mut CopyWorker) -> Result<()> {
    let CopyWorker { reader, reading, writer, writing } = worker;
    let mut source = CopySource::new(shared, reader, reading);
    while !shared.context.shutdown.is_cancelled() {
        let Some(row) = shared.alone.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else {
            break;
        };
        source.sets.push_back(row);
        loop {
            let batch = source.next_batch().await?;
            if batch.changes.is_empty() {
                break;
            }
            shared.write(&batch, writer, writing).await?;
        }
    }
    Ok(())
}

/// The rows of the remaining ranges, one range after the other, each range followed by its large rows.
struct CopySource<'s> {
    shared: &'s CopiedTable,
    reader: &'s SnapshotReader,
    work: &'s Work,
    rows: Option<RowStream<'s>>,
    /// Sets of large rows that are still to be read.
    sets: VecDeque<String>,
}

impl<'s> CopySource<'s> {
    fn new(shared: &'s CopiedTable, reader: &'s SnapshotReader, work: &'s Work) -> Self {
        CopySource { shared, reader, work, rows: None, sets: VecDeque::new() }
    }

    /// The rows of the next set or range; `None` after the last.
    async fn next_rows(&mut self) -> Result<Option<RowStream<'s>>> {
        let CopySource { shared, reader, sets, .. } = self;
        let (shared, reader) = (*shared, *reader);
        let table = CopiedFrom {
            names: shared.context.names(),
            published: &shared.published,
            layout: &shared.layout,
        };
        if let Some(set) = sets.pop_front() {
            return reader.large_rows(table, &set).await.map(Some);
        }
        let Some(range) = shared.next_range() else { return Ok(None) };
        if !shared.may_hold_large {
            return reader.rows(table, &range, None).await.map(Some);
        }
        let mut large = LargeRows::default();
        let rows = reader.rows(table, &range, Some(&mut large)).await?;
        sets.extend(large.sets);
        shared.alone.lock().unwrap_or_else(PoisonError::into_inner).extend(large.alone);
        Ok(Some(rows))
    }

    /// The next full batch; at the end a smaller batch, then an empty batch.
    async fn next_batch(&mut self) -> Result<Batch> {
        let shared = self.shared;
        let config = &shared.context.config;
        // Half the memory bound for each batch, because a worker holds two batches at a time.
        let limits = BatchLimits { rows: config.batch_rows, bytes: config.batch_bytes / 2 };
        let mut collector = Collector::new(limits, Position::default());
        while !collector.is_full() {
            self.work.busy();
            let Some(rows) = &mut self.rows else {
                self.rows = self.next_rows().await?;
                if self.rows.is_none() {
                    self.reader.release().await?;
                    break;
                }
                continue;
            };
            match rows.next().await? {
                Some(row) => {
                    let change = Change::Write { operation: Operation::Copy, row, old_id: None };
                    collector.push(SourcedChange { origin: shared.origin, change });
                }
                None => self.rows = None,
            }
        }
        self.work.idle();
        Ok(collector.take())
    }
}

impl CopiedTable {
    fn next_range(&self) -> Option<Range> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Writes a batch in one short transaction, which fails when another daemon has taken over.
    async fn write(&self, batch: &Batch, writer: &mut Writer, work: &Work) -> Result<()> {
        if !self.indexes.admit(batch).await? {
            return Ok(());
        }
        work.busy_sending(&batch.changes);
        writer.begin().await?;
        self.ledger.guard(writer.session()).await?;
        // Copied rows have no unchanged TOAST values, so no values need to be supplied.
        writer.apply(batch, &Supplied::new()).await?;
        writer.commit().await?;
        work.idle();
        reach(Point::CopyCommitted);
        self.done.fetch_add(batch.changes.len() as u64, Ordering::Relaxed);
        self.report(false);
        Ok(())
    }

    pub fn report(&self, finished: bool) {
        let table = &self.layout.name;
        let done = self.done.load(Ordering::Relaxed);
        let seconds = self.started.elapsed().as_secs_f64();
        self.context.telemetry.update(|live| {
            if let Some(progress) = live.snapshot.iter_mut().find(|progress| progress.table == *table) {
                progress.rows_done = done;
                progress.finished |= finished;
            }
            let (rows, expected) = live.snapshot_rows();
            let rate = rows as f64 / seconds.max(0.001);
            live.snapshot_rows_per_second = Some(rate);
            live.snapshot_seconds_left =
                expected.filter(|_| rate > 0.0).map(|expected| expected.saturating_sub(rows) as f64 / rate);
        });
    }
}
