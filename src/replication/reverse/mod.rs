//! Reverse replication: after the switch, carries Traffic's changes to Landing.
//!
//! A single task reads, writes and records. Meanwhile the transport reads ahead and answers keepalives; the
//! events that have arrived by the end of a load form the next load.

mod carry;
mod keys;
mod load;
mod prepare;
mod published;

use std::sync::Arc;
use std::time::Instant;

use carry::Carrier;
use futures_util::FutureExt as _;
use prepare::check;
use tokio::task::JoinHandle;

use super::forward_slot::ForwardSlot;
use super::intake::{ChangeStream, Intake, StreamSpan};
use super::liveness::Work;
use super::{Context, follow, joined};
use crate::batch::Changes as _;
use crate::batch::keys::{Load, TouchedKeys};
use crate::capture::framing::Captured;
use crate::capture::keys::{KeyColumn, TrafficTables};
use crate::checkpoint::{Carried, Ledger, LocalPosition, Reverse};
use crate::error::{Error, Response, Result};
use crate::failpoint::{Point, reach};
use crate::landing::write::LandingWriter;
use crate::language::message;
use crate::model::change::{Change, Position, RowKey, SourcedChange};
use crate::model::lsn::Lsn;
use crate::model::reached::{Advancing, Reached};
use crate::model::side::Side;
use crate::model::truncate::OnTruncate;
use crate::postgres::stream::StreamSource;
use crate::postgres::{Session, wal};
use crate::telemetry::State;
pub use prepare::{PreparedReverse, prepare};
pub use published::LandingPublished;

/// Carries changes to Landing until shutdown, or until everything before `goal` is on Landing.
///
/// # Errors
/// Every error that ends the stream. The caller drops the sessions and restarts from the position that
/// Traffic has recorded.
pub async fn run(context: &Arc<Context>, prepared: PreparedReverse, work: &Work) -> Result<()> {
    let PreparedReverse { traffic, landing, carrier, ledger, reverse, primary, watched: _, goal } = prepared;
    let from = Position { lsn: reverse.applied, commit_time: None, caught_up_at: reverse.caught_up_at };
    context.progress.begin(from);
    work.idle();
    let config = &context.config;
    let publication = context.names().reverse_publication();
    let source = StreamSource {
        endpoint: &config.traffic,
        slot: &reverse.slot,
        publication: &publication,
        primary: &primary,
    };
    let tables =
        TrafficTables { schema: context.names().traffic_schema.clone(), tables: context.tables.clone() };
    let stream = ChangeStream::start(source, from.lsn, tables).await?;
    let _looked_after = context.liveness.watch_stream(Side::Traffic, &stream.feed);
    // Checked after the stream has started: only an active slot cannot be dropped and created again under the
    // same name by another session.
    work.busy();
    context.liveness.guard(check(context, &traffic, &reverse, &primary)).await?;
    // From here on no session is expected to answer until a change arrives, perhaps for hours.
    work.idle();
    let (behind, positions) = Advancing::channel(Lsn::ZERO);
    let local = LocalPosition { store: context.store.clone(), identity: ledger.identity().clone() };
    let slot = ForwardSlot::new(
        Arc::clone(context),
        ledger.clone(),
        reverse.cutover_id,
        reverse.new_slot_since.is_some(),
    );
    let following = tokio::spawn(follow::follow(slot, local, positions));
    context.streams(State::Switched);
    tracing::info!(from = %from.lsn, slot = reverse.slot, "replicating Traffic's changes to Landing");
    let mut reverse_stream = ReverseStream {
        context,
        intake: Intake::new(context, stream, StreamSpan { from, goal }),
        recorded: Reached::new(from),
        traffic,
        landing,
        carrier,
        ledger: &ledger,
        reverse: &reverse,
        behind,
        work,
    };
    // A load may wait without end for a commit on Traffic that itself waits for the stream, so abandoning the
    // stream must also end the load.
    let carried = tokio::select! {
        carried = context.liveness.guard(reverse_stream.run()) => carried,
        cause = context.progress.abandoned() => Err(reverse_stream.cut(cause)),
    };
    let ReverseStream { intake, behind, .. } = reverse_stream;
    // The end of the channel of positions ends the follower.
    drop(behind);
    let followed = ended(following, &carried).await?;
    let stopped = intake.stream.feed.stop().await;
    // The stream's error comes first, because the other errors may follow from the stream's end.
    carried.and(followed).and(stopped)
}

/// Waits for the follower, which ends or has ended, and returns the follower's result.
///
/// # Errors
/// The follower has panicked.
async fn ended(following: JoinHandle<Result<()>>, carried: &Result<()>) -> Result<Result<()>> {
    match carried {
        // The run ends with this error, so nothing continues what the follower has begun.
        Err(error) if error.response() != Response::Retry => Ok(joined(following, "the follower").await),
        _ => following.await.map_err(|error| Error::internal(format!("the follower: {error}"))),
    }
}

struct ReverseStream<'r> {
    context: &'r Context,
    intake: Intake<KeyColumn, TouchedKeys>,
    /// Last position that Traffic has recorded.
    recorded: Reached,
    traffic: Session,
    landing: LandingWriter,
    carrier: Carrier,
    ledger: &'r Ledger,
    reverse: &'r Reverse,
    /// Landing's flushed position after the last load, for the follower.
    behind: Advancing,
    work: &'r Work,
}

impl ReverseStream<'_> {
    async fn run(&mut self) -> Result<()> {
        self.try_again_what_waits().await?;
        let context = self.context;
        loop {
            if self.intake.goal.is_some_and(|goal| self.recorded.lsn() >= goal) {
                return Ok(());
            }
            let Intake { stream, collector, .. } = &mut self.intake;
            let captured = if collector.is_full() {
                None
            } else if collector.is_ready() {
                // Adds events that have already arrived to the load, without waiting for more.
                stream.next().now_or_never()
            } else {
                // Both branches are cancellation-safe: an event stays in the stream.
                tokio::select! {
                    biased;
                    () = context.shutdown.cancelled() => return Ok(()),
                    captured = stream.next() => Some(captured),
                }
            };
            match captured {
                Some(captured) => self.collect(captured.map_err(|error| self.cut(error))?)?,
                None => {
                    if context.shutdown.is_cancelled() {
                        return Ok(());
                    }
                    let load = self.intake.collector.take();
                    self.carry(load).await?;
                }
            }
        }
    }

    /// Counts a cut of the stream. The recorded position measures progress; a keepalive's position does not,
    /// because each attempt writes to Traffic and so moves the keepalive's position.
    fn cut(&self, error: Error) -> Error {
        self.context.cuts().take_in(Side::Traffic, self.recorded.lsn(), error)
    }

    fn collect(&mut self, captured: Captured<RowKey>) -> Result<()> {
        // A changed key must not be changed twice. A row of an earlier transaction may have such a key now.
        if let Captured::Change(SourcedChange { origin, .. }) = &captured
            && self.landing.carried().is_some_and(|carried| origin.commit_lsn <= carried.commit)
        {
            return Ok(());
        }
        if self.context.config.on_truncate == OnTruncate::Stop
            && let Captured::Change(SourcedChange { change: Change::Truncate { tables }, .. }) = &captured
        {
            let names: Vec<_> = tables.iter().map(|table| table.traffic_name()).collect();
            return Err(Error::refused(format!("TRUNCATE on Traffic of {}", names.join(", ")))
                .remedy(message!("replication-remedy-truncate")));
        }
        self.intake.collect(captured)
    }

    async fn carry(&mut self, load: Load) -> Result<()> {
        self.context.progress.handed_over(self.intake.collector.oldest());
        self.work.busy();
        self.intake.report_queue();
        let (rows, begun) = (load.changes.rows(), Instant::now());
        if rows > 0 || !load.changes.truncated.is_empty() {
            wal::until_visible(&self.traffic, &load.changes.xids).await?;
            self.carrier.carry(&self.traffic, &mut self.landing, &load).await?;
            self.context.telemetry.metrics().applied(Side::Traffic, rows, begun.elapsed());
        }
        match load.end {
            Some(end) => self.write_down(end, &load).await?,
            None => reach(Point::ReversePartWritten),
        }
        self.work.idle();
        self.context.telemetry.update(|live| {
            live.transactions_applied += load.transactions;
            live.rows_applied += rows as u64;
        });
        Ok(())
    }

    /// Commits on Landing first, then records the position on Traffic, then acknowledges the slot. After a
    /// crash between two of the steps, the changes are carried again.
    async fn write_down(&mut self, end: Position, load: &Load) -> Result<()> {
        let begun = Instant::now();
        self.landing.commit().await?;
        self.context.telemetry.metrics().committed(Side::Traffic, begun.elapsed());
        reach(Point::ReverseCommitted);
        self.carrier.committed(&self.traffic).await?;
        reach(Point::ReverseReleased);
        let standing = self.landing.standing().await?;
        let carried = Carried {
            at: end,
            landing: standing.flushed,
            landing_time: standing.now,
            markers: &load.markers,
        };
        self.ledger.record_carried(&self.traffic, self.reverse, carried).await?;
        reach(Point::ReverseRecorded);
        self.recorded.advance(end);
        self.intake.stream.feed.acknowledge(end.lsn);
        reach(Point::ReverseAcknowledged);
        self.context.progress.committed(end);
        self.context.report_applied(Side::Traffic, end.lsn);
        self.behind.advance(standing.flushed);
        let uncut = self.context.cuts().ends(end.lsn);
        self.context.telemetry.update(|live| {
            live.applied_lsn = Some(standing.flushed);
            if uncut {
                live.last_error = None;
            }
        });
        Ok(())
    }

    /// Retries the quarantined rows, because the reason of a quarantine may have been repaired on Landing
    /// while no daemon ran.
    async fn try_again_what_waits(&mut self) -> Result<()> {
        let changes = self.carrier.waiting(&self.traffic).await?;
        if changes.rows() == 0 {
            return Ok(());
        }
        self.work.busy();
        let load = Load { changes, ..Load::default() };
        self.carrier.carry(&self.traffic, &mut self.landing, &load).await?;
        self.landing.commit().await?;
        self.carrier.committed(&self.traffic).await?;
        self.work.idle();
        Ok(())
    }
}
