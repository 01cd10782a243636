//! The indexes that a snapshot leaves out of the empty tables it fills: left out before the first row, made after the
//! last, or before a row that one of them might not take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::Context;
use super::liveness::Work;
use crate::batch::Batch;
use crate::change::{Change, Table};
use crate::database::{Session, Side};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::traffic::indexes::{self, Making};

/// How long an index that somebody else is making is given before the next look.
const BY_HAND: Duration = Duration::from_secs(1);

/// What is missing on Traffic, and who makes it.
pub struct Indexes {
    context: Arc<Context>,
    /// Held by who makes them: nobody writes meanwhile what they might not take.
    missing: Mutex<bool>,
}

impl Indexes {
    /// Knows what earlier snapshots left out.
    ///
    /// # Errors
    /// Traffic cannot be asked.
    pub async fn find(context: &Arc<Context>, traffic: &Session) -> Result<Self> {
        let missing =
            indexes::left_out(traffic, &context.config.names).await?.unwrap_or_default().len() as u64;
        context.telemetry.update(|live| live.snapshot_indexes_left = Some(missing));
        Ok(Indexes { context: Arc::clone(context), missing: Mutex::new(missing > 0) })
    }

    /// Leaves out those of an empty table, unless the operator wants them kept up.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn leave_out(&self, traffic: &Session, table: Table) -> Result<()> {
        let config = &self.context.config;
        if !config.defer_indexes {
            return Ok(());
        }
        let left_out = indexes::leave_out(traffic, &config.names, table).await?;
        if left_out.is_empty() {
            return Ok(());
        }
        let (table, indexes) = (table.traffic_name(), left_out.join(", "));
        tracing::info!(table, indexes, "the table is empty: these are left out until the rows are there");
        *self.missing.lock().await = true;
        count(&self.context, |left| left + left_out.len() as u64);
        reach(Point::IndexesLeftOut);
        Ok(())
    }

    /// Whether `batch` may be written. If what is missing might not take one of its rows, it is made first, and the row
    /// is quarantined as it would have been all along. False when it was told to stop.
    ///
    /// # Errors
    /// Those of [`Indexes::make`].
    pub async fn admit(&self, batch: &Batch) -> Result<bool> {
        let might_refuse = batch.changes.iter().any(|change| match &change.change {
            Change::Write { row, .. } => indexes::might_refuse(row),
            Change::Delete { .. } | Change::Truncate { .. } => false,
        });
        if might_refuse { self.make().await } else { Ok(true) }
    }

    /// Makes all that are missing, several at a time. It waits for as long as somebody holds a table, or makes one by
    /// hand. Returns whether all are there: not when it was told to stop.
    ///
    /// # Errors
    /// A row that is there does not fit; the disk is full; the connection broke. What was made stays.
    pub async fn make(&self) -> Result<bool> {
        let context = &self.context;
        let mut missing = self.missing.lock().await;
        while *missing && !context.shutdown.is_cancelled() {
            let mut running = JoinSet::new();
            for _ in 0..context.config.snapshot_workers {
                running.spawn(make_some(Arc::clone(context)));
            }
            while let Some(ended) = running.join_next().await {
                ended.map_err(|error| Error::internal(format!("making indexes: {error}")))??;
            }
            let session = context.config.traffic.connect_to_write("indexes").await?;
            let left = indexes::left_out(&session, &context.config.names).await?.unwrap_or_default();
            session.close().await;
            *missing = !left.is_empty();
            if *missing {
                pause(context, BY_HAND).await;
            }
        }
        Ok(!*missing)
    }
}

/// Before a stream: makes what is missing after all. A snapshot does not end without them, but Traffic may have been put
/// back to a moment within one. Returns false when it was told to stop.
///
/// # Errors
/// Those of [`Indexes::find`] and [`Indexes::make`].
pub async fn complete(context: &Arc<Context>, traffic: &Session, work: &Work) -> Result<bool> {
    let indexes = Indexes::find(context, traffic).await?;
    work.idle();
    let complete = indexes.make().await?;
    work.busy();
    Ok(complete)
}

/// Shorter when it is told to stop.
async fn pause(context: &Context, time: Duration) {
    tokio::select! {
        () = context.shutdown.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// How many are left, for who watches.
fn count(context: &Context, now: impl FnOnce(u64) -> u64) {
    context.telemetry.update(|live| {
        live.snapshot_indexes_left = Some(now(live.snapshot_indexes_left.unwrap_or_default()));
    });
}

/// One after the other, until none is left that nobody else is making, or until it is told to stop.
async fn make_some(context: Arc<Context>) -> Result<()> {
    let config = &context.config;
    let session = config.traffic.connect_to_write("indexes").await?;
    let work = context.liveness.watch(&[(Side::Traffic, &session)]);
    indexes::begin(&session).await?;
    let growing = ExponentialBuilder::default().with_max_delay(Duration::from_secs(10)).without_max_times();
    let mut waits = growing.build();
    while !context.shutdown.is_cancelled() {
        let begun = Instant::now();
        work.busy();
        match indexes::make_one(&session, &config.names).await? {
            Making::Made(index) => {
                tracing::info!(index, seconds = begun.elapsed().as_secs_f32(), "index made");
                count(&context, |left| left.saturating_sub(1));
                reach(Point::IndexMade);
                waits = growing.build();
            }
            Making::NoneLeft => return Ok(()),
            Making::Locked => {
                work.idle();
                let wait = waits.next().unwrap_or_default();
                tracing::info!(again_in = ?wait, "an index waits: its table is locked by somebody else");
                pause(&context, wait).await;
            }
        }
    }
    Ok(())
}
