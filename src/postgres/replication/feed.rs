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
use super::wire::{Frame, Wire};
use super::{ServerError, broken};
use crate::error::{Error, Result};
use crate::model::lsn::Lsn;
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

const READING: &str = "reading the replication stream";

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
    pub(super) fn new(wire: Wire, backend: Backend, from: Lsn) -> Self {
        let (ahead, events) = mpsc::channel(AHEAD_EVENTS);
        let (durable, confirmed) = watch::channel(from);
        let (stop, pulse) = (CancellationToken::new(), Arc::new(Pulse::default()));
        let now = Instant::now();
        let reader = Reader {
            wire,
            ahead,
            room: Arc::new(Semaphore::new(AHEAD_BYTES)),
            durable: confirmed,
            stop: stop.clone(),
            pulse: Arc::clone(&pulse),
            heard: now,
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
    wire: Wire,
    ahead: mpsc::Sender<Ahead>,
    room: Arc<Semaphore>,
    durable: watch::Receiver<Lsn>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    /// Time of the last arrival, and (`reported`) of the last status update.
    heard: Instant,
    reported: Instant,
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
            // Every branch is cancellation-safe: a cancelled read has taken nothing off the connection.
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.goodbye().await,
                () = sleep_until(due) => self.report().await?,
                received = self.wire.receive() => {
                    received.map_err(|error| broken(READING, error))?;
                    self.heard = Instant::now();
                    self.pulse.arrivals.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Handles a message. Returns false when nobody takes events any more.
    async fn take(&mut self, Frame { tag, content }: Frame) -> Result<bool> {
        match tag {
            b'd' => {
                let size = content.len();
                let event = open_envelope(content)
                    .map_err(|error| Error::internal(format!("replication stream: {error}")))?;
                if matches!(event, ReplicationEvent::KeepAlive { reply_requested: true, .. }) {
                    self.report().await?;
                }
                self.hand_over(event, size).await
            }
            b'E' => Err(ServerError::parse(&content).during(READING)),
            b'c' => Err(Error::unreachable(format!("{READING}: the server ended it"))),
            // Notices and settings.
            _ => Ok(true),
        }
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::super::super::place::Place;
    use super::super::super::url::Host;
    use super::*;

    /// Longer than anything that these tests wait for.
    const LONG: Duration = Duration::from_secs(20);
    const KEEPALIVE: &[u8] = b"d\0\0\0\x16k\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0";

    fn feed() -> (Feed, DuplexStream) {
        let (ours, server) = tokio::io::duplex(64 << 10);
        let place = Place { host: Host { name: "/nowhere".into(), port: 1, address: None }, address: None };
        (Feed::new(Wire::new(Box::new(ours)), Backend::unknown(place), Lsn(5)), server)
    }

    /// The beginning of a message with `length` bytes of content.
    fn row_of(length: i32) -> Vec<u8> {
        [b"d", &(length + 4).to_be_bytes()[..], b"w", &[0; 24], b"I"].concat()
    }

    async fn status(server: &mut DuplexStream) -> (u64, bool) {
        let mut bytes = [0; 39];
        tokio::time::timeout(LONG, server.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(&bytes[..6], b"d\0\0\0\x26r");
        (u64::from_be_bytes(bytes[6..14].try_into().unwrap()), bytes[38] == 1)
    }

    #[tokio::test]
    async fn positions_are_confirmed_while_a_message_is_on_its_way_behind_small_ones() {
        let (mut feed, mut server) = feed();
        server.write_all(&[KEEPALIVE, &row_of(1_000_000)].concat()).await.unwrap();
        assert!(matches!(feed.next().await.unwrap(), ReplicationEvent::KeepAlive { wal_end: Lsn(7), .. }));
        assert_eq!(status(&mut server).await.0, 5);
        feed.acknowledge(Lsn(7));
        feed.acknowledge(Lsn(6));
        // A server is asked to answer after a long silence.
        while status(&mut server).await != (7, true) {}
        server.write_all(&vec![0; 1_000_000 - 26]).await.unwrap();
        assert!(matches!(feed.next().await.unwrap(), ReplicationEvent::XLogData { .. }));
    }

    #[tokio::test]
    async fn a_peer_that_has_gone_silently_in_the_middle_of_a_message_does_not_hold_up_the_end() {
        let (feed, mut server) = feed();
        server.write_all(&row_of(1_000_000)).await.unwrap();
        status(&mut server).await;
        tokio::time::timeout(LONG, feed.stop()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_read_ahead_is_bounded_in_bytes_and_nothing_of_it_is_lost() {
        let (mut feed, mut server) = feed();
        let row = [row_of(1 << 20), vec![0; (1 << 20) - 26]].concat();
        let mut written = 0;
        let writing = async {
            for _ in 0..20 {
                server.write_all(&row).await.unwrap();
                written += 1;
            }
        };
        // Nobody takes an event, so the server is held back.
        tokio::time::timeout(Duration::from_secs(2), writing).await.unwrap_err();
        assert!((2..=6).contains(&written), "{written}");
        assert!(feed.pulse().is_full());
        for _ in 0..written {
            assert!(matches!(feed.next().await.unwrap(), ReplicationEvent::XLogData { .. }));
        }
    }

    #[tokio::test]
    async fn an_error_of_the_server_is_told_once_and_the_end_comes_after_it() {
        let (mut feed, mut server) = feed();
        server.write_all(b"E\0\0\0\x19C57P01\0Mterminating\0\0").await.unwrap();
        let error = feed.next().await.unwrap_err();
        assert_eq!(error.sqlstate().unwrap().code(), "57P01");
        assert!(feed.next().await.unwrap_err().message().contains("has ended"));
        feed.stop().await.unwrap();
    }
}
