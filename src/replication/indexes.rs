//! Deferred indexes. An initial copy into an empty table drops the table's indexes before the first row and
//! creates the indexes after the last row, or before a row that an index might refuse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::Context;
use super::liveness::Work;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::model::change::{Change, Table};
use crate::model::side::Side;
use crate::postgres::Session;
use crate::traffic::indexes::{self, Making};

/// Pause before the next look while another session creates a missing index.
const BY_HAND: Duration = Duration::from_secs(1);

/// State of the indexes that are missing on Traffic.
pub struct Indexes {
    context: Arc<Context>,
    /// Whether indexes are missing. The lock is held while indexes are created, so that no worker writes a
    /// row meanwhile that an index might refuse.
    missing: Mutex<bool>,
}

impl Indexes {
    /// Reads the indexes that earlier copies left out.
    ///
    /// # Errors
    /// Traffic cannot be queried.
    pub async fn find(context: &Arc<Context>, traffic: &Session) -> Result<Self> {
        let missing = indexes::left_out(traffic, context.names()).await?.unwrap_or_default().len() as u64;
        context.telemetry.update(|live| live.snapshot_indexes_left = Some(missing));
        Ok(Indexes { context: Arc::clone(context), missing: Mutex::new(missing > 0) })
    }

    /// Drops the indexes of an empty table, unless the configuration keeps indexes during a copy.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn leave_out(&self, traffic: &Session, table: Table) -> Result<()> {
        let config = &self.context.config;
        if !config.defer_indexes {
            return Ok(());
        }
        let left_out = indexes::leave_out(traffic, self.context.names(), table).await?;
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

    /// Whether `batch` may be written. If a missing index might refuse a row of the batch, the missing
    /// indexes are created first, and the row is quarantined as it would be with all indexes in place. False
    /// when a shutdown was requested.
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

    /// Creates all missing indexes, several at a time. Waits without a limit while another session holds a
    /// lock on a table or creates one of the indexes. Returns whether all indexes exist, which is false only
    /// after a shutdown request.
    ///
    /// # Errors
    /// An existing row violates an index; the disk is full; the connection broke. Indexes that were already
    /// created stay.
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
            let left = indexes::left_out(&session, context.names()).await?.unwrap_or_default();
            session.close().await;
            *missing = !left.is_empty();
            if *missing {
                pause(context, BY_HAND).await;
            }
        }
        Ok(!*missing)
    }
}

/// Creates missing indexes before a stream. A copy does not end without its indexes, but Traffic may have
/// been restored to a moment within a copy. Returns false when a shutdown was requested.
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

/// Sleeps for `time`, or until a shutdown is requested.
async fn pause(context: &Context, time: Duration) {
    tokio::select! {
        () = context.shutdown.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// Updates the reported number of missing indexes.
fn count(context: &Context, now: impl FnOnce(u64) -> u64) {
    context.telemetry.update(|live| {
        live.snapshot_indexes_left = Some(now(live.snapshot_indexes_left.unwrap_or_default()));
    });
}

/// Creates indexes one after the other, until every missing index is being created by some session, or until
/// a shutdown is requested.
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
        match indexes::make_one(&session, context.names()).await? {
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
                tracing::info!(again_in = ?wait, "an index waits: another session has locked the table");
                pause(&context, wait).await;
            }
        }
    }
    Ok(())
}
