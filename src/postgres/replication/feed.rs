//! A running stream: events in, positions out.
//!
//! A task of its own reads the connection, so that the server gets status updates however long nobody takes
//! an event or a message is arriving. The task reads ahead up to a bound in bytes and in events. Beyond the
//! bound, the bytes stay with the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::message::frontend;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::Backend;
use super::held::LongMessages;
use super::wire::{Frame, Wire};
use super::{ServerError, broken, oversize};
use crate::error::{Error, Result};
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::model::timestamp::POSTGRES_EPOCH;
use crate::pgoutput::{ReplicationEvent, open_envelope};

/// Interval of standby status updates. Well below any `wal_sender_timeout` in use: while Traffic is slow, or
/// a large message is arriving, the status updates are the only sign of life for the server.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);
/// Silence of the server after which a status update asks for an answer.
const ASK_AFTER: Duration = Duration::from_secs(3);
/// Bounds of reading ahead, in bytes and in events. A message above the bound in bytes goes alone.
const AHEAD_BYTES: usize = 4 << 20;
const AHEAD_EVENTS: usize = 1024;
/// Time limit for ending a stream.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) const READING: &str = "reading the replication stream";

/// An open stream. The feed holds the slot until dropped.
pub struct Feed {
    events: mpsc::Receiver<Ahead>,
    durable: watch::Sender<Lsn>,
    stop: CancellationToken,
    /// Handle of the reading task. The task ends with the feed, never later.
    reading: AbortOnDropHandle<Result<()>>,
    /// Whether [`Feed::next`] has reported the end of the reading task.
    is_over: bool,
    pulse: Arc<Pulse>,
    backend: Backend,
}

/// An event read ahead, with the permit for its bytes.
struct Ahead {
    event: ReplicationEvent,
    _bytes: OwnedSemaphorePermit,
}

/// Signs of life of the server's side of a stream, for the monitor.
#[derive(Debug, Default)]
pub struct Pulse {
    arrivals: AtomicU64,
    full: AtomicBool,
}

impl Pulse {
    /// Number of reads that brought bytes. A read may bring only a part of a message.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Whether the bound of reading ahead is reached. Nothing is read then, so `arrivals` does not grow.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

impl Feed {
    pub(super) fn new(wire: Wire, backend: Backend, source: Side, from: Lsn) -> Self {
        let (ahead, events) = mpsc::channel(AHEAD_EVENTS);
        let (durable, confirmed) = watch::channel(from);
        let (stop, pulse) = (CancellationToken::new(), Arc::new(Pulse::default()));
        let now = Instant::now();
        let reader = Reader {
            source,
            wire,
            ahead,
            room: Arc::new(Semaphore::new(AHEAD_BYTES)),
            durable: confirmed,
            stop: stop.clone(),
            pulse: Arc::clone(&pulse),
            long: LongMessages::new(),
            heard: now,
            has_passed: false,
            // The first status update is due at once: a server with a short timeout waits for an update from its start on.
            reported: now.checked_sub(STATUS_INTERVAL).unwrap_or(now),
        };
        let reading = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        Feed { events, durable, stop, reading, is_over: false, pulse, backend }
    }

    /// Backend that sends the stream.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// The next event. Cancellation-safe: an event not returned is not lost.
    ///
    /// # Errors
    /// The connection broke, or the server ended the stream.
    pub async fn next(&mut self) -> Result<ReplicationEvent> {
        if let Some(ahead) = self.events.recv().await {
            return Ok(ahead.event);
        }
        let over = || Error::unreachable(format!("{READING}: it has ended"));
        if self.is_over {
            return Err(over());
        }
        let ended = (&mut self.reading).await;
        self.is_over = true;
        match ended {
            Ok(ended) => Err(ended.err().unwrap_or_else(over)),
            Err(error) => Err(Error::internal(format!("{READING}: {error}"))),
        }
    }

    /// Tells the server, with the next status update, that everything before `durable` is durable. A lower
    /// position than the last changes nothing.
    pub fn acknowledge(&self, durable: Lsn) {
        self.durable.send_if_modified(|known| {
            let rises = durable > *known;
            *known = durable.max(*known);
            rises
        });
    }

    /// Ends the stream, so that the server releases the slot. Takes a moment at most, because a server that
    /// is gone takes no goodbye.
    ///
    /// # Errors
    /// The error that had ended the stream, unless [`Feed::next`] has reported the error.
    pub async fn stop(self) -> Result<()> {
        let Feed { stop, reading, events, is_over, .. } = self;
        if is_over {
            return Ok(());
        }
        stop.cancel();
        drop(events);
        match tokio::time::timeout(GOODBYE, reading).await {
            Ok(Ok(ended)) => ended,
            // The task has panicked, or is aborted after the time limit: in both cases the connection is
            // gone.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// Reads the stream, and sends status updates.
struct Reader {
    source: Side,
    wire: Wire,
    ahead: mpsc::Sender<Ahead>,
    room: Arc<Semaphore>,
    durable: watch::Receiver<Lsn>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    long: LongMessages,
    /// Time of the last arrival, and (`reported`) of the last status update.
    heard: Instant,
    reported: Instant,
    /// Whether the operator was told of a long logical message of another program.
    has_passed: bool,
}

impl Reader {
    async fn run(mut self) -> Result<()> {
        let stop = self.stop.clone();
        loop {
            while let Some(frame) = self.wire.arrived().map_err(|error| broken(READING, error))? {
                if !self.take(frame).await? {
                    return self.goodbye().await;
                }
            }
            let due = self.reported + STATUS_INTERVAL;
            let waits = self.long.are_enough();
            self.pulse.full.store(waits, Ordering::Relaxed);
            // Every branch is cancellation-safe: a cancelled read has taken nothing off the connection.
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.goodbye().await,
                () = sleep_until(due) => self.report().await?,
                () = self.long.until_freed(), if waits => self.heard = Instant::now(),
                received = self.wire.receive(), if !waits => {
                    received.map_err(|error| broken(READING, error))?;
                    self.heard = Instant::now();
                    self.pulse.arrivals.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Handles a message. Returns false when nobody takes events any more.
    async fn take(&mut self, frame: Frame) -> Result<bool> {
        if frame.tag == b'd' && frame.is_cut() {
            return self.pass(&frame).map(|()| true);
        }
        let Frame { tag, content, .. } = frame;
        match tag {
            b'd' => {
                let size = content.len();
                let event = open_envelope(self.long.hold(content))
                    .map_err(|error| Error::internal(format!("replication stream: {error}")))?;
                if matches!(event, ReplicationEvent::KeepAlive { reply_requested: true, .. }) {
                    self.report().await?;
                }
                self.hand_over(event, size).await
            }
            b'E' => Err(oversize::ended(self.source, ServerError::parse(&content))),
            b'c' => Err(Error::unreachable(format!("{READING}: the server ended it"))),
            // Notices and settings.
            _ => Ok(true),
        }
    }

    /// Passes a message of which only the beginning is held, while the connection discards the rest.
    fn pass(&mut self, frame: &Frame) -> Result<()> {
        let lsn = oversize::pass(self.source, frame)?;
        // Told once for each stream: any role may write such messages as often as it likes.
        if !std::mem::replace(&mut self.has_passed, true) {
            let bytes = frame.length;
            tracing::info!(%lsn, bytes, "passing a logical message of another program, unread; further ones are not told");
        }
        Ok(())
    }

    /// Puts an event into the buffer. Returns false when nobody takes events any more.
    async fn hand_over(&mut self, event: ReplicationEvent, size: usize) -> Result<bool> {
        let bytes = u32::try_from(size.min(AHEAD_BYTES)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(bytes)
            && let Ok(place) = self.ahead.try_reserve()
        {
            place.send(Ahead { event, _bytes: permit });
            return Ok(true);
        }
        self.pulse.full.store(true, Ordering::Relaxed);
        let handed = self.wait_for_room(event, bytes).await;
        self.pulse.full.store(false, Ordering::Relaxed);
        handed
    }

    async fn wait_for_room(&mut self, event: ReplicationEvent, bytes: u32) -> Result<bool> {
        let (room, ahead, stop) = (Arc::clone(&self.room), self.ahead.clone(), self.stop.clone());
        let waiting = async move {
            let permit = room.acquire_many_owned(bytes).await.ok()?;
            Some((permit, ahead.reserve_owned().await.ok()?))
        };
        tokio::pin!(waiting);
        loop {
            let due = self.reported + STATUS_INTERVAL;
            // A status update does not restart the wait for room: `waiting` keeps its place in the queue.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                found = &mut waiting => {
                    let Some((permit, place)) = found else { return Ok(false) };
                    place.send(Ahead { event, _bytes: permit });
                    // The bytes that arrived during the wait are still unread, so the wait does not count as
                    // silence.
                    self.heard = Instant::now();
                    return Ok(true);
                }
                () = sleep_until(due) => self.report().await?,
            }
        }
    }

    /// Sends a standby status update. Asks a server to answer after a long silence, because a half-open
    /// connection otherwise looks like an idle connection.
    async fn report(&mut self) -> Result<()> {
        let durable = *self.durable.borrow_and_update();
        let asks = self.heard.elapsed() >= ASK_AFTER && !self.pulse.is_full();
        let sent = self.wire.send(|out| {
            put_status(durable, asks, out);
            Ok(())
        });
        let sent = sent.await;
        self.reported = Instant::now();
        sent.map_err(|error| broken(READING, error))
    }

    /// Acknowledges the last position, and ends the stream.
    async fn goodbye(&mut self) -> Result<()> {
        let durable = *self.durable.borrow_and_update();
        let said = self.wire.send(|out| {
            put_status(durable, false, out);
            frontend::copy_done(out);
            frontend::terminate(out);
            Ok(())
        });
        // An error is ignored, because a peer that is gone takes no goodbye.
        let _ = said.await;
        Ok(())
    }
}

/// Encodes a standby status update: everything before `durable` is written, flushed and applied.
fn put_status(durable: Lsn, asks: bool, out: &mut BytesMut) {
    out.put_u8(b'd');
    out.put_i32(38);
    out.put_u8(b'r');
    for _ in ["written", "flushed", "applied"] {
        out.put_u64(durable.0);
    }
    out.put_i64(jiff::Timestamp::now().as_microsecond() - POSTGRES_EPOCH);
    out.put_u8(u8::from(asks));
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
