//! Forward streaming. Capture collects changes while apply writes, so that decoding and writing overlap.
//!
//! Apply asks for a batch when free, and gets all changes that are collected by then, up to the last commit:
//! a single transaction under low load, thousands of changes under high load, without a timer. While apply is
//! busy, capture reads the stream in portions.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::intake::{ChangeStream, Intake, StreamSpan};
use super::liveness::Work;
use super::stream_thread::{Demand, StreamThread};
use super::{Context, joined, repair};
use crate::batch::Batch;
use crate::capture::framing::Captured;
use crate::capture::layout::Layout;
use crate::capture::rows::LandingTables;
use crate::checkpoint::{Ledger, LocalPosition, Published, Recording, check_start};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::landing::{catalog, reading};
use crate::model::budget::Budget;
use crate::model::change::{Row, SourcedChange, Table};
use crate::model::lsn::Lsn;
use crate::model::reached::Advancing;
use crate::model::side::Side;
use crate::postgres::primary::Primary;
use crate::postgres::stream::StreamSource;
use crate::postgres::{Session, slot, synchronous, wal};
use crate::telemetry::State;
use crate::traffic::{Applied, Supplied, Writer};

/// Prepared forward stream: the two sessions, and the position that Traffic has recorded.
pub struct PreparedStream {
    pub writer: Writer,
    pub control: Session,
    pub ledger: Ledger,
    pub span: StreamSpan,
    /// Landing's publication and tables as of the position.
    pub published: Published,
}

/// Streams from the recorded position until shutdown, or until the goal is applied.
///
/// # Errors
/// Every error that ends the stream. The caller drops the sessions and restarts from Traffic's position.
pub async fn run(context: &Arc<Context>, prepared: PreparedStream, work: &Work) -> Result<()> {
    let PreparedStream { writer, control, ledger, span, published } = prepared;
    let StreamSpan { from, goal } = span;
    let stop = context.shutdown.child_token();
    context.progress.begin(from);
    context.repairs.open();
    let (committed, committed_at) = Advancing::channel(from.lsn);
    let (acknowledge, acknowledged) = Advancing::channel(from.lsn);
    let (to_apply, batches) = mpsc::channel(1);
    // Steps that can fail come before the first task is spawned, because from then on every task must be
    // joined.
    let recording = context.liveness.guard(ledger.prepare(writer.session())).await?;
    synchronous::refuse(&control, Side::Landing, &context.names().slot).await?;
    work.idle();
    let thread = StreamThread::start()?;
    let demand = thread.demand();
    let source = LandingSource { context: Arc::clone(context), published, primary: ledger.primary() };
    let starting = thread.spawn(source.start(from.lsn));
    let stream =
        starting.await.map_err(|error| Error::internal(format!("the stream's start: {error}")))??;
    let _looked_after = context.liveness.watch_stream(Side::Landing, &stream.feed);
    // Checked after the stream has started: only an active slot cannot be dropped and created again under the
    // same name by another session.
    work.busy();
    let slot = context.liveness.guard(slot::read(&control, &context.names().slot)).await?;
    work.idle();
    check_start(ledger.identity(), slot.map(|slot| slot.position).as_ref(), from.lsn)?;
    let local = LocalPosition { store: context.store.clone(), identity: ledger.identity().clone() };
    let acknowledger = tokio::spawn(keep(Arc::clone(context), local, committed_at, acknowledge));
    let intake = Intake::new(context, stream, span);
    let reader = StreamReader { intake, demand: demand.clone() };
    let ends = ReaderEnds { batches: to_apply, acknowledged, stop: stop.clone() };
    let reading = thread.spawn(reader.run(Arc::clone(context), ends));
    context.streams(State::Streaming);
    tracing::info!(from = %from.lsn, triggers = ?writer.triggers(), "streaming");
    let mut applier = Applier { context, writer, control, ledger: &ledger, recording, committed, work };
    let applying = context.liveness.guard(applier.run(&demand, batches, goal));
    // Apply may wait without end for a commit on Landing that itself waits for the stream, so abandoning the
    // stream must also end apply.
    let (applied, given_up) = tokio::select! {
        applied = applying => (applied, false),
        () = context.progress.given_up() => (Ok(()), true),
    };
    // The end of one task ends all: the acknowledger ends when the channel of positions closes, the reader
    // when `stop` is cancelled.
    stop.cancel();
    context.repairs.close();
    drop(applier);
    let kept = joined(acknowledger, "the acknowledger").await;
    let read =
        reading.await.map_err(|error| Error::internal(format!("the reader of the stream: {error}")))?;
    // Apply's error comes first, because the other errors may follow from apply's end.
    applied.and(kept).and(read)?;
    if given_up { Err(context.progress.cause()) } else { Ok(()) }
}

/// Landing's stream before its start.
struct LandingSource {
    context: Arc<Context>,
    published: Published,
    primary: Primary,
}

impl LandingSource {
    /// Starts the stream on the current thread.
    async fn start(self, from: Lsn) -> Result<ChangeStream<Layout>> {
        let LandingSource { context, published, primary } = self;
        let Context { config, tables, .. } = &*context;
        let names = context.names();
        let source = StreamSource {
            endpoint: &config.landing,
            slot: &names.slot,
            publication: &names.publication,
            primary: &primary,
        };
        let landing = LandingTables::new(names.clone(), tables.clone(), published);
        ChangeStream::start(source, from, landing).await
    }
}

/// The acknowledger: takes each position that Traffic has committed to the local store, then passes the
/// position on to be acknowledged to the slot (guarantees 1.3). Positions that arrive during a write are
/// skipped in favour of the newest position, because only the last position matters. Ends when `committed`
/// closes.
async fn keep(
    context: Arc<Context>,
    local: LocalPosition,
    mut committed: watch::Receiver<Lsn>,
    acknowledge: Advancing,
) -> Result<()> {
    while committed.changed().await.is_ok() {
        let lsn = *committed.borrow_and_update();
        // The watchdog looks after the step, because nothing else notices a disk that never answers.
        let storing = context.telemetry.heartbeats().begin("the local store");
        let begun = Instant::now();
        local.advance(lsn).await?;
        context.telemetry.metrics().stored(begun.elapsed());
        drop(storing);
        reach(Point::StoreFlushed);
        acknowledge.advance(lsn);
    }
    Ok(())
}

/// Reads the stream into batches, and sends acknowledgements on the stream.
struct StreamReader {
    intake: Intake<Layout, Vec<SourcedChange>>,
    /// Apply's demand for a batch.
    demand: Demand,
}

/// The channels between the reader of the stream and the other tasks.
struct ReaderEnds {
    batches: mpsc::Sender<Batch>,
    acknowledged: watch::Receiver<Lsn>,
    stop: CancellationToken,
}

impl StreamReader {
    async fn run(mut self, context: Arc<Context>, ends: ReaderEnds) -> Result<()> {
        let ReaderEnds { batches, mut acknowledged, stop } = ends;
        let cut = |error| context.cuts().take_in(Side::Landing, context.progress.standing().applied(), error);
        let (progress, demand) = (&context.progress, self.demand.clone());
        let abandoned = progress.abandoned();
        let stopped = stop.cancelled();
        tokio::pin!(abandoned, stopped);
        loop {
            let (ready, full) = (self.intake.collector.is_ready(), self.intake.collector.is_full());
            // Every branch is cancellation-safe: an acknowledgement stays in its channel, a demand stays
            // raised until taken, and an event stays in the stream or, once taken out, in the collector.
            tokio::select! {
                biased;
                () = &mut stopped => break,
                cause = &mut abandoned => return Err(cut(cause)),
                changed = acknowledged.changed() => {
                    if changed.is_err() {
                        break; // The acknowledger has ended, which ends the run.
                    }
                    self.acknowledge(&mut acknowledged);
                }
                () = demand.taken(), if ready || full => {
                    let batch = self.intake.collector.take();
                    progress.handed_over(self.intake.collector.oldest());
                    // Never blocks, because apply asks for one batch at a time and the channel has room for
                    // one.
                    if batches.send(batch).await.is_err() {
                        break;
                    }
                }
                taken = self.take_in(ready), if !full => taken.map_err(&cut)?,
            }
            self.intake.report_queue();
        }
        drop(batches);
        // Acknowledges the last commits before the stream ends.
        while acknowledged.changed().await.is_ok() {
            self.acknowledge(&mut acknowledged);
        }
        self.intake.stream.feed.stop().await
    }

    /// Collects events until the collector is full or, if `ready` is false, until the collector becomes ready.
    /// Checking the other branches of [`StreamReader::run`] after each event would cost more than the event.
    async fn take_in(&mut self, ready: bool) -> Result<()> {
        while !self.intake.collector.is_full() && self.intake.collector.is_ready() == ready {
            let captured = self.next().await?;
            self.intake.collect(captured)?;
        }
        Ok(())
    }

    /// The next event of the stream, without delay when apply waits for a batch. While apply is busy, an
    /// empty stream is left alone for a moment, because otherwise each message would wake this thread when
    /// Traffic applies faster than Landing decodes.
    async fn next(&mut self) -> Result<Captured<Row>> {
        if !self.demand.is_raised() {
            if let Some(captured) = self.at_hand() {
                return captured;
            }
            // Lets the transport run, because the transport may have received more.
            tokio::task::yield_now().await;
            if let Some(captured) = self.at_hand() {
                return captured;
            }
            self.demand.nap();
        }
        self.intake.stream.next().await
    }

    /// An event that has already arrived; `None` when there is none.
    fn at_hand(&mut self) -> Option<Result<Captured<Row>>> {
        // Ignores the runtime's cooperative budget, because an exhausted budget would make the stream look
        // empty.
        unconstrained(self.intake.stream.next()).now_or_never()
    }

    fn acknowledge(&self, acknowledged: &mut watch::Receiver<Lsn>) {
        self.intake.stream.feed.acknowledge(*acknowledged.borrow_and_update());
        reach(Point::Acknowledged);
    }
}

/// Writes batches to Traffic, one transaction at a time.
struct Applier<'r> {
    context: &'r Context,
    writer: Writer,
    control: Session,
    ledger: &'r Ledger,
    recording: Recording,
    committed: Advancing,
    work: &'r Work,
}

impl Applier<'_> {
    /// Applies batches until the collector ends, the goal is reached, or the attempt is dropped.
    async fn run(
        &mut self,
        demand: &Demand,
        mut batches: mpsc::Receiver<Batch>,
        goal: Option<Lsn>,
    ) -> Result<()> {
        loop {
            if goal.is_some_and(|goal| self.committed.lsn() >= goal) {
                return Ok(());
            }
            demand.raise();
            let Some(mut batch) = self.next(&mut batches).await? else { return Ok(()) };
            self.context.repairs.touched(&batch.changes);
            self.work.busy_sending(&batch.changes);
            let last = batch.changes.last().map(|change| change.origin.commit_lsn);
            self.apply(&mut batch).await.map_err(|error| error.at(last))?;
            self.work.idle();
        }
    }

    /// The next batch. While there is none, and no transaction is open on Traffic, rows are repaired that background
    /// verification has left.
    async fn next(&mut self, batches: &mut mpsc::Receiver<Batch>) -> Result<Option<Batch>> {
        loop {
            let is_open = self.writer.in_transaction();
            // Both branches are cancellation-safe: a batch stays in its channel, an order stays on the desk.
            let order = tokio::select! {
                biased;
                batch = batches.recv() => return Ok(batch),
                order = self.context.repairs.next(), if !is_open => order,
            };
            self.work.busy_sending(&order.changes);
            repair::write(&mut self.writer, self.ledger, order).await?;
            self.work.idle();
        }
    }

    async fn apply(&mut self, batch: &mut Batch) -> Result<()> {
        let (rows, metrics) = (batch.changes.len(), self.context.telemetry.metrics());
        let begun = Instant::now();
        let recorded = self.writer.apply_pipelined(batch, self.ledger, &self.recording).await?;
        if !recorded {
            self.apply_in_steps(batch).await?;
        }
        // A batch without rows only records an idle stream's position.
        if rows > 0 {
            metrics.applied(Side::Landing, rows, begun.elapsed());
        }
        if let Some(end) = batch.end {
            reach(Point::Recorded);
            let begun = Instant::now();
            self.writer.commit().await?;
            metrics.committed(Side::Landing, begun.elapsed());
            reach(Point::Committed);
            self.committed.advance(end.lsn);
            self.context.progress.committed(end);
        } else {
            reach(Point::PartWritten);
        }
        self.context.telemetry.update(|live| {
            live.transactions_applied += batch.transactions;
            live.rows_applied += rows as u64;
            live.applied_lsn = Some(self.context.progress.standing().applied());
        });
        Ok(())
    }

    /// Writes the batch statement by statement, and the position if the batch has an end. If the rows that
    /// must be read from Landing exceed the memory bound, the batch is applied in parts.
    async fn apply_in_steps(&mut self, batch: &mut Batch) -> Result<()> {
        let changes = std::mem::take(&mut batch.changes);
        let mut parts = vec![Batch { changes, end: batch.end, ..Batch::default() }];
        while let Some(part) = parts.pop() {
            let mut supplied = Supplied::new();
            while let Applied::Missing(keys) = self.writer.apply(&part, &supplied).await? {
                let count = self.supply(&part, &keys, &mut supplied).await?;
                if count > 1 {
                    parts.extend(part.cut(count).into_iter().rev());
                    break;
                }
            }
        }
        let Some(end) = batch.end else { return Ok(()) };
        reach(Point::RowsWritten);
        self.ledger.record(self.writer.session(), &self.recording, end, &batch.markers).await
    }

    /// Reads rows from Landing for changes whose unchanged TOAST values Traffic cannot supply. The read rows
    /// are at least as new as the changes of the batch, so a missing row was deleted by this batch or by a
    /// later one. Returns the number of parts into which the batch must be cut; with more than one part, no
    /// row is read, because the rows together exceed the memory bound.
    async fn supply(&self, batch: &Batch, keys: &[(Table, Uuid)], supplied: &mut Supplied) -> Result<usize> {
        let mut xids: Vec<u32> = batch.changes.iter().filter_map(|change| change.origin.xid).collect();
        xids.dedup();
        wal::until_visible(&self.control, &xids).await?;
        let (control, names) = (&self.control, self.context.names());
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        for table in Table::ALL {
            let ids: Vec<_> = keys.iter().filter(|key| key.0 == table).map(|key| key.1).collect();
            if ids.is_empty() {
                continue;
            }
            let layout: Layout = catalog::layout(control, names, self.writer.mapping(table)).await?;
            if batch.changes.len() > 1 {
                bytes += reading::weights(control, names, &layout, &ids).await?.values().sum::<u64>();
            }
            wanted.push((layout, ids));
        }
        let parts = Budget::of(self.context.config.batch_bytes).parts(batch.changes.len(), bytes);
        if parts > 1 {
            return Ok(parts);
        }
        for (layout, ids) in wanted {
            let mut found = reading::by_id(control, names, &layout, &ids).await?;
            supplied.extend(ids.into_iter().map(|id| ((layout.table(), id), found.remove(&id))));
        }
        Ok(1)
    }
}
