//! Takes the events of a stream into batches, in either direction.

use std::sync::Arc;

use tokio::time::Instant;

use super::Context;
use crate::batch::{BatchLimits, Changes, Collector};
use crate::capture::framing::{Capture, Captured, ReplicatedRelation};
use crate::error::Result;
use crate::model::change::Position;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::replication::Feed;
use crate::postgres::stream::{self, StreamSource};

/// The decoded stream of one side.
pub struct ChangeStream<R: ReplicatedRelation> {
    /// The transport. The transport takes acknowledgements of positions that are durable.
    pub feed: Feed,
    source: Side,
    capture: Capture<R>,
}

impl<R: ReplicatedRelation> ChangeStream<R> {
    /// # Errors
    /// Errors of [`stream::start`].
    pub async fn start(source: StreamSource<'_>, from: Lsn, tables: R::Tables) -> Result<Self> {
        let feed = stream::start(source, from).await?;
        Ok(ChangeStream { feed, source: source.endpoint.side(), capture: Capture::new(tables) })
    }

    /// The next event of the stream. Cancellation-safe: an event is decoded as soon as it is received.
    ///
    /// # Errors
    /// The connection broke, the server ended the stream, or the server sent a change that could lose data.
    pub async fn next(&mut self) -> Result<Captured<R::Row>> {
        loop {
            if let Some(captured) = self.capture.event(self.feed.next().await?)? {
                return Ok(captured);
            }
        }
    }
}

/// The part of a stream that a run needs.
#[derive(Clone, Copy, Debug)]
pub struct StreamSpan {
    /// Everything before this position is applied.
    pub from: Position,
    /// The run ends when everything before this position is applied; `None` for a run without an end.
    pub goal: Option<Lsn>,
}

/// A stream, and the changes collected from the stream.
pub struct Intake<R: ReplicatedRelation, C> {
    pub stream: ChangeStream<R>,
    pub collector: Collector<C>,
    context: Arc<Context>,
    /// As [`StreamSpan::goal`].
    pub goal: Option<Lsn>,
    /// Time at which an idle position was last put into a batch.
    recorded_at: Instant,
}

impl<R: ReplicatedRelation, C: Changes<Row = R::Row>> Intake<R, C> {
    pub fn new(context: &Arc<Context>, stream: ChangeStream<R>, span: StreamSpan) -> Self {
        let config = &context.config;
        let limits = BatchLimits { rows: config.batch_rows, bytes: config.batch_bytes };
        Intake {
            stream,
            collector: Collector::new(limits, span.from),
            context: Arc::clone(context),
            goal: span.goal,
            recorded_at: Instant::now(),
        }
    }

    pub fn collect(&mut self, captured: Captured<R::Row>) -> Result<()> {
        match captured {
            Captured::Begin(origin) => {
                self.context.progress.captured(origin.commit_time);
                self.collector.begin(origin);
            }
            Captured::Change(change) => self.collector.push(change),
            Captured::Commit(end) => self.collector.commit(end)?,
            Captured::Marker { id, at } => self.collector.mark(id, at),
            Captured::Idle(at) => self.idle(at),
        }
        Ok(())
    }

    /// Reports to the metrics what waits to be applied.
    pub fn report_queue(&self) {
        let (rows, bytes) = self.collector.waiting();
        self.context.telemetry.metrics().queued(rows, bytes);
    }

    fn idle(&mut self, at: Position) {
        let counts = self.context.progress.idle(at);
        if counts {
            self.context.report_applied(self.stream.source, at.lsn);
        }
        let applied = self.context.progress.standing().applied();
        if at.lsn < applied {
            tracing::debug!(at = %at.lsn, %applied, "the server decodes old WAL again");
        }
        // Recorded once in each interval only, because every record is a write on Traffic, and other tables
        // of the source may be busy.
        let news = at.lsn > self.collector.reached();
        let interval = self.context.config.checkpoint_interval;
        let due = news && (self.context.progress.is_hurried() || self.recorded_at.elapsed() >= interval);
        // At the goal a position is recorded even while the last batch is in flight. The position follows the
        // batch, so the run does not wait for the server's next keepalive.
        let at_goal = self.goal.is_some_and(|goal| at.lsn >= goal);
        if (counts && due) || at_goal {
            self.recorded_at = Instant::now();
            self.collector.advance(at);
        }
    }
}
