//! The initial copy: all replicated tables under the slot's exported snapshot, in parallel (guarantees 2).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::copy_outcome::Outcome;
use super::indexes::Indexes;
use super::liveness::Work;
use crate::batch::{Batch, BatchBuilder, BatchLimits};
use crate::capture::layout::Layout;
use crate::checkpoint::{Ledger, Published};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::fence::pass;
use crate::landing::snapshot::{Range, RowStream, SnapshotReader};
use crate::model::change::{Change, Operation, Origin, Position, SourcedChange, Table};
use crate::model::side::Side;
use crate::postgres::slot::NewSlot;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::{Database, Session, slot, wal};
use crate::telemetry::{State, TableProgress};
use crate::traffic::{Supplied, Touch, Writer, stale};

/// Copies the tables and returns the position at which the stream begins; `None` after a shutdown was requested.
///
/// # Errors
/// Every error that breaks the copy. The slot and the partial copy stay; the next attempt restarts the copy
/// with a new slot.
pub async fn run(
    context: &Arc<Context>,
    control: &Session,
    traffic: &Session,
    ledger: &Ledger,
    drop_slot: bool,
    work: &Work,
) -> Result<Option<(Position, Published)>> {
    let config = &context.config;
    // Checked before the copy rather than at the end of a long copy.
    pass::check_passable(Database::traffic(traffic, &config.names)).await?;
    context.telemetry.update(|live| {
        live.state = State::Snapshot;
        live.snapshot.clear();
    });
    // The local store first: a position from before the copy is void, and must not be compared with positions
    // after the copy.
    context.store.clear()?;
    reach(Point::StoreCleared);
    ledger.begin_snapshot(traffic).await?;
    reach(Point::IntentRecorded);
    stale::clear_quarantine(traffic, &config.names, &context.tables).await?;
    if drop_slot {
        tracing::info!(slot = config.names.slot, "dropping the slot of an earlier snapshot");
        slot::drop_slot(control, &config.names.slot).await?;
        reach(Point::SlotDropped);
    }

    let before = wal::sample(control).await?;
    let new = NewSlot {
        endpoint: &config.landing,
        name: &config.names.slot,
        failover: config.slot_failover,
        timeout: config.slot_creation_timeout,
    };
    let exported = slot::create(&new, control, &ledger.primary(), &context.shutdown).await?;
    reach(Point::SlotCreated);
    let position = Position { lsn: exported.consistent_point, commit_time: None, caught_up_at: before.now };
    tracing::info!(slot = config.names.slot, at = %position.lsn, "slot created; copying");
    let copy = Copy::prepare(context, ledger, traffic, position, &exported.name).await?;
    // The exporting session may end, because every reader has imported the snapshot.
    exported.release();
    reach(Point::Imported);
    let (published, new_tables) = (copy.published.clone(), copy.new_tables.clone());
    let outcome = copy.outcome();
    let indexes = Arc::clone(&copy.indexes);
    work.idle();
    if !copy.all_tables().await? {
        return Ok(None);
    }
    work.busy();
    reach(Point::Copied);
    outcome.check(&context.config.names, &context.tables, control).await?;
    work.idle();
    if !indexes.make().await? {
        return Ok(None);
    }
    work.busy();
    finish(context, traffic, ledger, position, &published, &new_tables).await?;
    Ok(Some((position, published)))
}

/// The last transaction of a copy: deletes the rows that the copy left, and records the stream's position.
async fn finish(
    context: &Context,
    traffic: &Session,
    ledger: &Ledger,
    position: Position,
    published: &Published,
    new_tables: &[Table],
) -> Result<()> {
    let execute = async |sql: &str| during(traffic, "finishing the snapshot on Traffic").batch(sql).await;
    // Set explicitly, because the deletes need triggers and cascades, and the role's default may disable
    // both.
    let triggers = TriggerControl::probe(traffic).await?;
    execute(&format!("BEGIN; {}", triggers.restore())).await?;
    let origin = Origin { xid: None, commit_lsn: position.lsn, commit_time: position.caught_up_at };
    let (names, tables) = (&context.config.names, &context.tables);
    let known: Vec<Table> = tables.iter().copied().filter(|table| !new_tables.contains(table)).collect();
    let removed = stale::remove(traffic, names, &known, tables, origin).await?;
    stale::forget_notes(traffic, names, tables).await?;
    ledger.finish_snapshot(traffic, position, published).await?;
    reach(Point::Finishing);
    execute("COMMIT").await?;
    reach(Point::Finished);
    context.store.advance(ledger.identity(), position.lsn)?;
    reach(Point::FinishStored);
    tracing::info!(removed, at = %position.lsn, "snapshot complete");
    Ok(())
}

/// A worker reads the next batch from Landing while the current batch is written to Traffic.
struct CopyWorker {
    reader: SnapshotReader,
    reading: Work,
    writer: Writer,
    writing: Work,
}

struct Copy {
    context: Arc<Context>,
    ledger: Ledger,
    origin: Origin,
    published: Published,
    /// Horizon of the snapshot on Landing.
    horizon: String,
    indexes: Arc<Indexes>,
    /// Tables that held no row from Landing before the copy, and so hold no row that is older than this
    /// snapshot.
    new_tables: Vec<Table>,
    workers: Vec<CopyWorker>,
    parts: Vec<Part>,
    started: Instant,
}

/// A table that is still to be copied.
struct Part {
    layout: Layout,
    ranges: VecDeque<Range>,
    done: Arc<AtomicU64>,
}

/// State that the workers of one table share.
struct Shared {
    context: Arc<Context>,
    ledger: Ledger,
    published: Published,
    layout: Layout,
    origin: Origin,
    indexes: Arc<Indexes>,
    ranges: Mutex<VecDeque<Range>>,
    done: Arc<AtomicU64>,
    started: Instant,
}

impl Copy {
    async fn prepare(
        context: &Arc<Context>,
        ledger: &Ledger,
        traffic: &Session,
        position: Position,
        snapshot: &str,
    ) -> Result<Self> {
        let config = &context.config;
        let (names, tables, touch) = (&config.names, &context.tables, Touch::EveryRow);
        let mut workers = Vec::new();
        let mut published = None;
        for _ in 0..config.snapshot_workers {
            let reader = SnapshotReader::open(&config.landing, snapshot).await?;
            let reading = context.liveness.watch(&[(Side::Landing, reader.session())]);
            // Read once, because all readers see the same snapshot.
            let published = match &published {
                Some(published) => published,
                None => published.insert(reader.published(names, tables).await?),
            };
            reading.idle();
            let session = config.traffic.connect_to_write("snapshot").await?;
            let writing = context.liveness.watch(&[(Side::Traffic, &session)]);
            let writer = Writer::new(session, names, published, tables, touch, config.on_truncate).await?;
            writing.idle();
            workers.push(CopyWorker { reader, reading, writer, writing });
        }
        let indexes = Arc::new(Indexes::find(context, traffic).await?);
        let new_tables = begin_new_tables(context, traffic, &mut workers, &indexes).await?;
        let (Some(CopyWorker { reader, reading, .. }), Some(published)) = (workers.first(), published) else {
            return Err(Error::internal("a snapshot needs at least one worker"));
        };
        reading.busy();
        let horizon = reader.horizon().await?;
        let (mut parts, mut progress) = (Vec::new(), Vec::new());
        for &table in &context.tables {
            reader.lock(&config.names, table, &published).await?;
            let layout = reader.layout(&config.names, table).await?;
            let extent = reader.extent(&config.names, table).await?;
            progress.push(TableProgress {
                table: table.landing_name().to_owned(),
                rows_done: 0,
                rows_expected: Some(extent.expected_rows),
                finished: false,
            });
            parts.push(Part { layout, ranges: extent.ranges.into(), done: Arc::default() });
        }
        reader.release().await?;
        reading.idle();
        context.telemetry.update(|live| live.snapshot = progress);
        let origin = Origin { xid: None, commit_lsn: position.lsn, commit_time: position.caught_up_at };
        let started = Instant::now();
        Ok(Copy {
            context: Arc::clone(context),
            ledger: ledger.clone(),
            origin,
            published,
            horizon,
            indexes,
            new_tables,
            workers,
            parts,
            started,
        })
    }

    fn outcome(&self) -> Outcome {
        let rows = |part: &Part| (part.layout.table, Arc::clone(&part.done));
        let copied = self.parts.iter().map(rows).collect();
        Outcome { published: self.published.clone(), horizon: self.horizon.clone(), copied }
    }

    /// Copies one table after the other, because a journey entry needs its lead. False after a shutdown request.
    async fn all_tables(mut self) -> Result<bool> {
        for Part { layout, ranges, done } in std::mem::take(&mut self.parts) {
            let table = layout.table;
            let shared = Arc::new(Shared {
                context: Arc::clone(&self.context),
                ledger: self.ledger.clone(),
                published: self.published.clone(),
                layout,
                origin: self.origin,
                indexes: Arc::clone(&self.indexes),
                ranges: Mutex::new(ranges),
                done: Arc::clone(&done),
                started: self.started,
            });
            let mut running = JoinSet::new();
            for worker in self.workers.drain(..) {
                running.spawn(copy_ranges(Arc::clone(&shared), worker));
            }
            while let Some(ended) = running.join_next().await {
                // On an error the set is dropped, which cancels the other workers and rolls back their
                // transactions.
                self.workers
                    .push(ended.map_err(|error| Error::internal(format!("a copy worker: {error}")))??);
            }
            if self.context.shutdown.is_cancelled() {
                return Ok(false);
            }
            shared.report(true);
            tracing::info!(table = table.landing_name(), rows = done.load(Ordering::Relaxed), "copied");
        }
        Ok(true)
    }
}

/// Finds the tables that hold no row from Landing. Must run before the workers write. In such a table every
/// copied row is new, and existing conversion notes concern rows that no longer exist.
async fn begin_new_tables(
    context: &Context,
    traffic: &Session,
    workers: &mut [CopyWorker],
    indexes: &Indexes,
) -> Result<Vec<Table>> {
    let mut new_tables = Vec::new();
    for &table in &context.tables {
        let Some(CopyWorker { writer, writing, .. }) = workers.first() else { break };
        writing.busy();
        let new = writer.is_new(table).await?;
        writing.idle();
        let mut by_copy = new;
        if new {
            new_tables.push(table);
            stale::clear_notes(traffic, &context.config.names, table).await?;
            indexes.leave_out(traffic, table).await?;
            for CopyWorker { writer, writing, .. } in workers.iter_mut() {
                writing.busy();
                by_copy &= writer.fill(table).await?;
                writing.idle();
            }
        }
        tracing::info!(table = table.traffic_name(), new, by_copy, "a table to copy into");
    }
    Ok(new_tables)
}

async fn copy_ranges(shared: Arc<Shared>, worker: CopyWorker) -> Result<CopyWorker> {
    let CopyWorker { reader, reading, mut writer, writing } = worker;
    let mut source = CopySource { shared: &shared, reader: &reader, work: &reading, rows: None };
    let mut batch = source.next_batch().await?;
    while !batch.changes.is_empty() && !shared.shutdown().is_cancelled() {
        // Either future may be dropped when the other fails, because an error ends the whole copy.
        let written = shared.write(&batch, &mut writer, &writing);
        let (next, ()) = tokio::try_join!(source.next_batch(), written)?;
        batch = next;
    }
    Ok(CopyWorker { reader, reading, writer, writing })
}

/// The rows of the remaining ranges, one range after the other.
struct CopySource<'s> {
    shared: &'s Shared,
    reader: &'s SnapshotReader,
    work: &'s Work,
    rows: Option<RowStream<'s>>,
}

impl CopySource<'_> {
    /// The next full batch; at the end a smaller batch, then an empty batch.
    async fn next_batch(&mut self) -> Result<Batch> {
        let shared = self.shared;
        let config = &shared.context.config;
        // Half the memory bound for each batch, because a worker holds two batches at a time.
        let limits = BatchLimits { rows: config.batch_rows, bytes: config.batch_bytes / 2 };
        let mut builder = BatchBuilder::new(limits, Position::default());
        while !builder.is_full() {
            self.work.busy();
            let Some(rows) = &mut self.rows else {
                let Some(range) = shared.next_range() else {
                    self.reader.release().await?;
                    break;
                };
                let rows = self.reader.rows(&config.names, &shared.published, &shared.layout, &range);
                self.rows = Some(rows.await?);
                continue;
            };
            match rows.next().await? {
                Some(row) => {
                    let change = Change::Write { operation: Operation::Copy, row, old_id: None };
                    builder.push(SourcedChange { origin: shared.origin, change });
                }
                None => self.rows = None,
            }
        }
        self.work.idle();
        Ok(builder.take())
    }
}

impl Shared {
    fn shutdown(&self) -> &CancellationToken {
        &self.context.shutdown
    }

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

    fn report(&self, finished: bool) {
        let table = self.layout.table;
        let done = self.done.load(Ordering::Relaxed);
        let seconds = self.started.elapsed().as_secs_f64();
        self.context.telemetry.update(|live| {
            if let Some(progress) =
                live.snapshot.iter_mut().find(|progress| progress.table == table.landing_name())
            {
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
