//! The initial copy: all replicated tables under the slot's exported snapshot, in parallel (guarantees 2).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::Context;
use super::attempt::{Attempt, AttemptSessions};
use super::copy_worker::{CopiedTable, CopyWorker, copy_alone, copy_ranges};
use super::indexes::Indexes;
use crate::capture::layout::Layout;
use crate::checkpoint::{Ledger, Published, passthrough};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{Point, reach};
use crate::fence::pass;
use crate::landing::catalog;
use crate::landing::ranges::Range;
use crate::landing::snapshot::SnapshotReader;
use crate::mapping::Mapping;
use crate::model::change::{Origin, Position, Table};
use crate::model::names::Names;
use crate::model::same_id::SameId;
use crate::model::side::Side;
use crate::postgres::slot::NewSlot;
use crate::postgres::step::during;
use crate::postgres::triggers::TriggerControl;
use crate::postgres::written_since::written_since;
use crate::postgres::{Database, slot, wal};
use crate::telemetry::{State, TableProgress};
use crate::traffic::stale::{self, StaleRows};
use crate::traffic::{Touch, Writer, WriterSettings, own_values};

/// Copies the tables and returns the position at which the stream begins; `None` after a shutdown was requested.
///
/// # Errors
/// Every error that breaks the copy. The slot and the partial copy stay; the next attempt restarts the copy
/// with a new slot.
pub async fn run(attempt: Attempt<'_>, drop_slot: bool) -> Result<Option<(Position, Published)>> {
    let Attempt { context, sessions: AttemptSessions { control, traffic }, ledger, work } = attempt;
    let config = &context.config;
    // Checked before the copy rather than at the end of a long copy.
    pass::check_passable(Database::traffic(traffic, context.names())).await?;
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
    stale::clear_quarantine(traffic, context.names(), &context.tables).await?;
    if drop_slot {
        tracing::info!(slot = context.names().slot, "dropping the slot of an earlier snapshot");
        slot::drop_slot(control, &context.names().slot).await?;
        reach(Point::SlotDropped);
    }

    let before = wal::sample(control).await?;
    let new = NewSlot {
        endpoint: &config.landing,
        name: &context.names().slot,
        failover: config.slot_failover,
        timeout: config.slot_creation_timeout,
    };
    let exported = slot::create(&new, control, &ledger.primary(), &context.shutdown).await?;
    reach(Point::SlotCreated);
    let position = Position { lsn: exported.consistent_point, commit_time: None, caught_up_at: before.now };
    tracing::info!(slot = context.names().slot, at = %position.lsn, "slot created; copying");
    let copy = Copy::prepare(attempt, position, &exported.name).await?;
    // The exporting session may end, because every reader has imported the snapshot.
    exported.release();
    reach(Point::Imported);
    let outcome = copy.outcome();
    let indexes = Arc::clone(&copy.indexes);
    work.idle();
    if !copy.all_tables().await? {
        return Ok(None);
    }
    work.busy();
    reach(Point::Copied);
    outcome.check(context.names(), &context.tables, control).await?;
    work.idle();
    if !indexes.make().await? {
        return Ok(None);
    }
    work.busy();
    finish(attempt, position, &outcome).await?;
    Ok(Some((position, outcome.published)))
}

/// The last transaction of a copy: deletes the rows that the copy left, and records the stream's position.
async fn finish(attempt: Attempt<'_>, position: Position, outcome: &Outcome) -> Result<()> {
    let Attempt { context, sessions: AttemptSessions { traffic, .. }, ledger, .. } = attempt;
    let execute = async |sql: &str| during(traffic, "finishing the snapshot on Traffic").batch(sql).await;
    // Set explicitly, because the deletes need triggers and cascades, and the role's default may disable
    // both.
    let triggers = TriggerControl::probe(traffic).await?;
    execute(&format!("BEGIN; {}", triggers.restore())).await?;
    let origin = Origin { xid: None, commit_lsn: position.lsn, commit_time: position.caught_up_at };
    let (names, tables) = (context.names(), &context.tables);
    let known: Vec<Table> =
        tables.iter().copied().filter(|table| !outcome.new_tables.contains(table)).collect();
    let stale = StaleRows { tables: &known, mapping: &outcome.published.mapping(), children: tables, origin };
    let removed = stale::remove(Database::traffic(traffic, names), stale).await?;
    stale::forget_notes(traffic, names, tables).await?;
    let recorded = (&outcome.published, &context.replicated());
    ledger.finish_snapshot(traffic, position, recorded).await?;
    reach(Point::Finishing);
    execute("COMMIT").await?;
    reach(Point::Finished);
    context.store.advance(ledger.identity(), position.lsn)?;
    reach(Point::FinishStored);
    tracing::info!(removed, at = %position.lsn, "snapshot complete");
    Ok(())
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
    may_hold_large: bool,
    done: Arc<AtomicU64>,
}

impl Copy {
    async fn prepare(attempt: Attempt<'_>, position: Position, snapshot: &str) -> Result<Self> {
        let Attempt { context, sessions: AttemptSessions { traffic, .. }, ledger, .. } = attempt;
        let (mut workers, published) = open_workers(attempt, snapshot).await?;
        let mapping = published.mapping();
        let indexes = Arc::new(Indexes::find(context, traffic).await?);
        if context.config.same_id == SameId::Landing {
            keep_own_values(attempt, &mut workers).await?;
        }
        let new_tables = begin_new_tables(attempt, &mut workers, &indexes).await?;
        let Some(CopyWorker { reader, reading, .. }) = workers.first() else {
            return Err(Error::internal("a snapshot needs at least one worker"));
        };
        reading.busy();
        let horizon = reader.horizon().await?;
        let (mut parts, mut progress) = (Vec::new(), Vec::new());
        for &table in &context.tables {
            let names = context.names();
            reader.lock(names, table, &published).await?;
            let layout = reader.layout(names, mapping.of(table)).await?;
            let extent = reader.extent(names, table).await?;
            progress.push(TableProgress {
                table: names.landing_name(table).to_owned(),
                rows_done: 0,
                rows_expected: Some(extent.expected_rows),
                finished: false,
            });
            let (ranges, may_hold_large) = (extent.ranges.into(), extent.may_hold_large);
            parts.push(Part { layout, ranges, may_hold_large, done: Arc::default() });
        }
        reader.release().await?;
        reading.idle();
        context.telemetry.update(|live| live.snapshot = progress);
        Ok(Copy {
            context: Arc::clone(context),
            ledger: ledger.clone(),
            origin: Origin { xid: None, commit_lsn: position.lsn, commit_time: position.caught_up_at },
            published,
            horizon,
            indexes,
            new_tables,
            workers,
            parts,
            started: Instant::now(),
        })
    }

    fn outcome(&self) -> Outcome {
        let rows = |part: &Part| (part.layout.table(), Arc::clone(&part.done));
        let copied = self.parts.iter().map(rows).collect();
        let (published, horizon) = (self.published.clone(), self.horizon.clone());
        Outcome { published, horizon, copied, new_tables: self.new_tables.clone() }
    }

    /// Copies one table after the other, because a journey entry needs its lead. False after a shutdown request.
    async fn all_tables(mut self) -> Result<bool> {
        for Part { layout, ranges, may_hold_large, done } in std::mem::take(&mut self.parts) {
            let table = layout.table();
            let shared = Arc::new(CopiedTable {
                context: Arc::clone(&self.context),
                ledger: self.ledger.clone(),
                published: self.published.clone(),
                layout,
                origin: self.origin,
                indexes: Arc::clone(&self.indexes),
                ranges: Mutex::new(ranges),
                may_hold_large,
                alone: Mutex::default(),
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
            if let Some(worker) = self.workers.first_mut() {
                copy_alone(&shared, worker).await?;
            }
            if self.context.shutdown.is_cancelled() {
                return Ok(false);
            }
            shared.report(true);
            let table = self.context.names().landing_name(table);
            tracing::info!(table, rows = done.load(Ordering::Relaxed), "copied");
        }
        Ok(true)
    }
}

/// Opens the sessions of all workers on the exported snapshot. Returns what Landing publishes under the
/// snapshot, too.
async fn open_workers(attempt: Attempt<'_>, snapshot: &str) -> Result<(Vec<CopyWorker>, Published)> {
    let Attempt { context, sessions: AttemptSessions { traffic, .. }, .. } = attempt;
    let config = &context.config;
    let (names, tables, touch) = (context.names(), &context.tables, Touch::EveryRow);
    let passthrough = passthrough::read(Database::traffic(traffic, names)).await?;
    let mut workers = Vec::new();
    let mut published: Option<(Published, Mapping)> = None;
    for _ in 0..config.snapshot_workers {
        let reader = SnapshotReader::open(&config.landing, snapshot).await?;
        let reading = context.liveness.watch(&[(Side::Landing, reader.session())]);
        // Read once, because all readers see the same snapshot.
        let (_, mapping) = match &published {
            Some(published) => published,
            None => {
                let read = reader.published(names, tables, &passthrough).await?;
                let mapping = read.mapping();
                published.insert((read, mapping))
            }
        };
        reading.idle();
        let session = config.traffic.connect_to_write("snapshot").await?;
        let writing = context.liveness.watch(&[(Side::Traffic, &session)]);
        let on_truncate = config.on_truncate;
        let settings = WriterSettings { mapping, tables, touch, on_truncate };
        let writer = Writer::new(session, names, settings).await?;
        writing.idle();
        workers.push(CopyWorker { reader, reading, writer, writing });
    }
    Ok((workers, published.map(|(published, _)| published).unwrap_or_default()))
}

/// Lets the workers keep the values of Traffic's own leads that the copy overwrites. Without such a lead the
/// copy is as fast as ever.
async fn keep_own_values(attempt: Attempt<'_>, workers: &mut [CopyWorker]) -> Result<()> {
    let Attempt { context, sessions: AttemptSessions { traffic, .. }, .. } = attempt;
    if own_values::are_there(Database::traffic(traffic, context.names())).await? {
        for CopyWorker { writer, writing, .. } in workers {
            writing.busy();
            writer.keep_own_values().await?;
            writing.idle();
        }
    }
    Ok(())
}

/// Finds the tables that hold no row from Landing. Must run before the workers write. In such a table every
/// copied row is new, and existing conversion notes concern rows that no longer exist.
async fn begin_new_tables(
    attempt: Attempt<'_>,
    workers: &mut [CopyWorker],
    indexes: &Indexes,
) -> Result<Vec<Table>> {
    let Attempt { context, sessions: AttemptSessions { traffic, .. }, .. } = attempt;
    let mut new_tables = Vec::new();
    for &table in &context.tables {
        let Some(CopyWorker { writer, writing, .. }) = workers.first() else { break };
        writing.busy();
        let new = writer.is_new(table).await?;
        writing.idle();
        let mut by_copy = new;
        if new {
            new_tables.push(table);
            stale::clear_notes(traffic, context.names(), table).await?;
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

/// The copied rows, and the snapshot under which the rows were read.
struct Outcome {
    /// Publication and tables of Landing as of the snapshot.
    published: Published,
    /// Oldest transaction id that the snapshot may not see: commits of all transactions with an older id are
    /// in the snapshot.
    horizon: String,
    /// Number of copied rows of each table.
    copied: Vec<(Table, Arc<AtomicU64>)>,
    /// See [`Copy::new_tables`].
    new_tables: Vec<Table>,
}

impl Outcome {
    /// Must be called after every row is copied, and before rows that were not copied are deleted on Traffic.
    ///
    /// # Errors
    /// Transient when a table was rewritten during the copy, or was copied as empty although the snapshot has
    /// rows: the copy must restart.
    async fn check(&self, names: &Names, tables: &[Table], landing: &Client) -> Result<()> {
        let now =
            catalog::published_since(Database::landing(landing, names), tables, &self.published).await?;
        self.published.check_copied(&now)?;
        for (table, rows) in &self.copied {
            if rows.load(Ordering::Relaxed) == 0 {
                self.check_empty(names, *table, landing).await?;
            }
        }
        Ok(())
    }

    /// A current row with an `xmin` before the horizon was in the table under the snapshot already.
    async fn check_empty(&self, names: &Names, table: Table, landing: &Client) -> Result<()> {
        let name = names.landing_table(table);
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {name} WHERE NOT ({}))",
            written_since("xmin", &self.horizon)
        );
        let step = format!("looking whether {name} on Landing is empty");
        let row = during(landing, step).row(&sql, &[]).await?;
        match row.get(0) {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Transient,
                format!("the copy restarts: {name} on Landing was copied as empty, and is not"),
            )),
        }
    }
}
