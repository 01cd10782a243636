//! Reverse replication: after the switch, carries Traffic's changes to Landing.
//!
//! A single task reads, writes and records. Meanwhile the transport reads ahead and answers keepalives; the
//! events that have arrived by the end of a load form the next load.

mod carry;
mod load;
mod prepare;

use std::sync::Arc;

use carry::Carrier;
use futures_util::FutureExt as _;
use prepare::check;
use tokio::time::Instant;

use super::liveness::Work;
use super::{Context, follow};
use crate::batch::keys::{Load, Loader};
use crate::capture::keys::{KeyCapture, Touched};
use crate::checkpoint::{Carried, Ledger, Reverse};
use crate::config::OnTruncate;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::landing::write::LandingWriter;
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::reached::{Advancing, Reached};
use crate::model::side::Side;
use crate::postgres::replication::Feed;
use crate::postgres::stream::{self, StreamSource};
use crate::postgres::{Session, wal};
use crate::telemetry::State;
pub use prepare::{PreparedReverse, check_published, prepare};

/// Carries changes to Landing until shutdown, or until everything before `goal` is on Landing.
///
/// # Errors
/// Every error that ends the stream. The caller drops the sessions and restarts from the position that
/// Traffic has recorded.
pub async fn run(
    context: &Arc<Context>,
    prepared: PreparedReverse,
    goal: Option<Lsn>,
    work: &Work,
) -> Result<()> {
    let PreparedReverse { traffic, landing, carrier, ledger, reverse, primary } = prepared;
    let begin = Position { lsn: reverse.applied, commit_time: None, caught_up_at: reverse.caught_up_at };
    let from = begin.lsn;
    context.progress.begin(begin);
    work.idle();
    let config = &context.config;
    let publication = config.names.reverse_publication();
    let source = StreamSource {
        endpoint: &config.traffic,
        slot: &reverse.slot,
        publication: &publication,
        primary: &primary,
    };
    let feed = stream::start(source, from).await?;
    let _looked_after = context.liveness.watch_stream(Side::Traffic, &feed);
    // Checked after the stream has started: only an active slot cannot be dropped and created again under the
    // same name by another session.
    work.busy();
    context.liveness.guard(check(context, &traffic, &reverse, &primary)).await?;
    // From here on no session is expected to answer until a change arrives, perhaps for hours.
    work.idle();
    let (behind, positions) = Advancing::channel(Lsn::ZERO);
    let following = tokio::spawn(follow::follow(Arc::clone(context), ledger.identity().clone(), positions));
    context.streams(State::Switched);
    tracing::info!(%from, slot = reverse.slot, "replicating Traffic's changes to Landing");
    let mut way = ReverseStream {
        context,
        capture: KeyCapture::new(&config.names.traffic_schema, &context.tables),
        loader: Loader::new(config.batch_rows, begin),
        written_down: Instant::now(),
        goal,
        recorded: Reached::new(begin),
        feed,
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
        carried = context.liveness.guard(way.run()) => carried,
        cause = context.progress.abandoned() => Err(way.cut(cause)),
    };
    let ReverseStream { feed, behind, .. } = way;
    // The end of this task also ends the follower, because the channel of positions closes.
    drop(behind);
    let followed = following.await.map_err(|error| Error::internal(format!("the follower: {error}")))?;
    let stopped = feed.stop().await;
    // The stream's error comes first, because the other errors may follow from the stream's end.
    carried.and(followed).and(stopped)
}

struct ReverseStream<'r> {
    context: &'r Context,
    feed: Feed,
    capture: KeyCapture,
    loader: Loader,
    /// Time at which an idle position was last put into a load.
    written_down: Instant,
    goal: Option<Lsn>,
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
            if self.goal.is_some_and(|goal| self.recorded.lsn() >= goal) {
                return Ok(());
            }
            let touched = if self.loader.is_full() {
                None
            } else if self.loader.is_ready() {
                // Adds events that have already arrived to the load, without waiting for more.
                next(&mut self.feed, &mut self.capture).now_or_never().transpose().map_err(|e| self.cut(e))?
            } else {
                // Both branches are cancellation-safe: an event stays in the stream.
                tokio::select! {
                    biased;
                    () = context.shutdown.cancelled() => return Ok(()),
                    touched = next(&mut self.feed, &mut self.capture) => Some(touched.map_err(|e| self.cut(e))?),
                }
            };
            match touched {
                Some(touched) => self.collect(touched)?,
                None => {
                    if context.shutdown.is_cancelled() {
                        return Ok(());
                    }
                    let load = self.loader.take();
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

    fn collect(&mut self, touched: Touched) -> Result<()> {
        match touched {
            Touched::Begin { xid, committed } => {
                self.context.progress.captured(committed);
                self.loader.begin(xid, committed);
            }
            Touched::Written { table, id, old_id } => {
                self.loader.touch(table, [id]);
                if let Some(old_id) = old_id {
                    self.loader.delete(table, old_id);
                }
            }
            Touched::Deleted { table, id } => self.loader.delete(table, id),
            Touched::Truncate(tables) => {
                if self.context.config.on_truncate == OnTruncate::Stop {
                    let names: Vec<_> = tables.iter().map(|table| table.traffic_name()).collect();
                    return Err(Error::refused(format!("TRUNCATE on Traffic of {}", names.join(", "))).remedy(
                        "the TRUNCATE was not applied; to delete on Landing the rows that are no longer on \
                         Traffic, set \
                         on_truncate = \"apply\" and start again",
                    ));
                }
                self.loader.truncate(tables);
            }
            Touched::Commit(end) => self.loader.commit(end)?,
            Touched::Marker { id, at } => self.loader.mark(id, at),
            Touched::Idle(at) => {
                // Changes that wait to be carried lie before the idle position.
                let counts = self.loader.oldest().is_none() && self.context.progress.idle(at);
                if counts {
                    self.report_applied(at.lsn);
                }
                // Recorded once in each interval only, because every record is itself a write on Traffic.
                let news = at.lsn > self.recorded.lsn();
                let interval = self.context.config.checkpoint_interval;
                let due =
                    news && (self.context.progress.is_hurried() || self.written_down.elapsed() >= interval);
                if counts && (due || self.goal.is_some_and(|goal| at.lsn >= goal)) {
                    self.written_down = Instant::now();
                    self.loader.advance(at);
                }
            }
        }
        Ok(())
    }

    async fn carry(&mut self, load: Load) -> Result<()> {
        self.context.progress.handed_over(self.loader.oldest());
        self.work.busy();
        if load.rows() > 0 || !load.truncated.is_empty() {
            wal::until_visible(&self.traffic, &load.xids).await?;
            self.carrier.carry(&self.traffic, &mut self.landing, &load).await?;
        }
        match load.end {
            Some(end) => self.write_down(end, &load).await?,
            None => reach(Point::ReversePartWritten),
        }
        self.work.idle();
        self.context.telemetry.update(|live| {
            live.transactions_applied += load.transactions;
            live.rows_applied += load.rows() as u64;
        });
        Ok(())
    }

    /// Commits on Landing first, then records the position on Traffic, then acknowledges the slot. After a
    /// crash between two of the steps, the changes are carried again.
    async fn write_down(&mut self, end: Position, load: &Load) -> Result<()> {
        self.landing.commit().await?;
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
        self.feed.acknowledge(end.lsn);
        reach(Point::ReverseAcknowledged);
        self.context.progress.committed(end);
        self.report_applied(end.lsn);
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

    /// Reports the position to `status` without delay. The lag is reported by the monitor, which asks both
    /// servers.
    fn report_applied(&self, position: Lsn) {
        self.context.telemetry.update(|live| {
            if let Some(reverse) = &mut live.reverse {
                reverse.applied_lsn = Some(position);
            }
        });
    }

    /// Retries the quarantined rows, because the reason of a quarantine may have been repaired on Landing
    /// while no daemon ran.
    async fn try_again_what_waits(&mut self) -> Result<()> {
        let keys = self.carrier.waiting(&self.traffic).await?;
        if keys.is_empty() {
            return Ok(());
        }
        self.work.busy();
        // The quarantined rows may include a delete that Landing refused, and the stream does not send the
        // delete again.
        let load = Load { deleted: keys.clone(), keys, ..Load::default() };
        self.carrier.carry(&self.traffic, &mut self.landing, &load).await?;
        self.landing.commit().await?;
        self.carrier.committed(&self.traffic).await?;
        self.work.idle();
        Ok(())
    }
}

/// The next event of the stream. Cancellation-safe: an event is decoded as soon as it is received.
async fn next(feed: &mut Feed, capture: &mut KeyCapture) -> Result<Touched> {
    loop {
        if let Some(touched) = capture.event(feed.next().await?)? {
            return Ok(touched);
        }
    }
}
