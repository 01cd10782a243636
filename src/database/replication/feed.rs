//! A stream that runs: events in, positions out.
//!
//! A task of its own reads, so that the server hears of us however long nobody takes an event, or a message is on its
//! way. What it reads ahead is bounded in bytes and in number; beyond that it leaves the server's bytes where they are.

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
use crate::lsn::Lsn;
use crate::pgoutput::{ReplicationEvent, open_envelope};
use crate::timestamp::POSTGRES_EPOCH;

/// How often positions are confirmed to the server, and it is told that somebody lives. Well below any
/// `wal_sender_timeout` in use: while Traffic is slow, or a large message on its way, this is all that it hears of us.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);
/// A server that has said nothing for so long is asked to.
const ASK_AFTER: Duration = Duration::from_secs(3);
/// What is read ahead, in bytes and in events. A larger message goes alone.
const AHEAD_BYTES: usize = 4 << 20;
const AHEAD_EVENTS: usize = 1024;
/// How long the end of a stream may take.
const GOODBYE: Duration = Duration::from_secs(2);

const READING: &str = "reading the replication stream";

/// An open stream. It holds the slot until it is dropped.
pub struct Feed {
    events: mpsc::Receiver<Ahead>,
    durable: watch::Sender<Lsn>,
    stop: CancellationToken,
    /// Ends with the feed, never after it.
    reading: AbortOnDropHandle<Result<()>>,
    /// How the reading ended has been told.
    is_over: bool,
    pulse: Arc<Pulse>,
    backend: Backend,
}

/// An event that waits to be taken, and its part of what may be read ahead.
struct Ahead {
    event: ReplicationEvent,
    _bytes: OwnedSemaphorePermit,
}

/// Whether the server's side of a stream lives, for who looks after it from outside.
#[derive(Debug, Default)]
pub struct Pulse {
    arrivals: AtomicU64,
    full: AtomicBool,
}

impl Pulse {
    /// Grows with all that arrives, be it a part of a message.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Nothing is read, since enough is read ahead: nothing can arrive.
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
            reported: now,
        };
        let reading = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        Feed { events, durable, stop, reading, is_over: false, pulse, backend }
    }

    /// Who serves it.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// What the server says next. Cancellation-safe: an event that was not returned is not lost.
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

    /// Tells the server, within a moment, that everything before `durable` is where it belongs.
    pub fn acknowledge(&self, durable: Lsn) {
        self.durable.send_if_modified(|known| {
            let rises = durable > *known;
            *known = durable.max(*known);
            rises
        });
    }

    /// Ends the stream; the server releases the slot. Takes a moment at most: a server that is gone takes no goodbye.
    ///
    /// # Errors
    /// That by which the stream had ended before, unless it has been told.
    pub async fn stop(self) -> Result<()> {
        let Feed { stop, reading, events, is_over, .. } = self;
        if is_over {
            return Ok(());
        }
        stop.cancel();
        drop(events);
        match tokio::time::timeout(GOODBYE, reading).await {
            Ok(Ok(ended)) => ended,
            // Given up and aborted, or it panicked: the connection is gone either way.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// Reads the stream and reports to the server.
struct Reader {
    wire: Wire,
    ahead: mpsc::Sender<Ahead>,
    room: Arc<Semaphore>,
    durable: watch::Receiver<Lsn>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    /// When something has last arrived, and when something was last sent.
    heard: Instant,
    reported: Instant,
}

impl Reader {
    async fn run(mut self) -> Result<()> {
        let stop = self.stop.clone();
        loop {
            while let Some(frame) = self.wire.arrived().map_err(|error| broken(READING, &error))? {
                if !self.take(frame).await? {
                    return self.goodbye().await;
                }
            }
            let due = self.reported + STATUS_INTERVAL;
            // Every branch is cancellation-safe: a read that is given up has taken nothing off the connection.
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.goodbye().await,
                () = sleep_until(due) => self.report().await?,
                received = self.wire.receive() => {
                    received.map_err(|error| broken(READING, &error))?;
                    self.heard = Instant::now();
                    self.pulse.arrivals.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Returns false when nobody wants to hear more.
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
            b'E' => Err(ServerError::parse(&content).at(READING)),
            b'c' => Err(Error::unreachable(format!("{READING}: the server ended it"))),
            // Notices and settings.
            _ => Ok(true),
        }
    }

    /// Returns false when nobody wants to hear more.
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
            // The wait for room goes on where it was.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                found = &mut waiting => {
                    let Some((permit, place)) = found else { return Ok(false) };
                    place.send(Ahead { event, _bytes: permit });
                    // What has arrived meanwhile is still to be read.
                    self.heard = Instant::now();
                    return Ok(true);
                }
                () = sleep_until(due) => self.report().await?,
            }
        }
    }

    /// A standby status update. A server that has been silent for long is asked to answer: a connection that carries
    /// nothing any more looks like an idle one otherwise.
    async fn report(&mut self) -> Result<()> {
        let durable = *self.durable.borrow_and_update();
        let asks = self.heard.elapsed() >= ASK_AFTER && !self.pulse.is_full();
        let sent = self.wire.send(|out| {
            put_status(durable, asks, out);
            Ok(())
        });
        let sent = sent.await;
        self.reported = Instant::now();
        sent.map_err(|error| broken(READING, &error))
    }

    /// What was acknowledged last goes along.
    async fn goodbye(&mut self) -> Result<()> {
        let durable = *self.durable.borrow_and_update();
        let said = self.wire.send(|out| {
            put_status(durable, false, out);
            frontend::copy_done(out);
            frontend::terminate(out);
            Ok(())
        });
        // A peer that is gone takes no goodbye.
        let _ = said.await;
        Ok(())
    }
}

/// A standby status update: everything before `durable` is written, flushed and applied.
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

    /// What nothing that is tested here takes.
    const LONG: Duration = Duration::from_secs(20);
    const KEEPALIVE: &[u8] = b"d\0\0\0\x16k\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0";

    fn feed() -> (Feed, DuplexStream) {
        let (ours, server) = tokio::io::duplex(64 << 10);
        let place = Place { host: Host { name: "/nowhere".into(), port: 1 }, address: None };
        (Feed::new(Wire::new(Box::new(ours)), Backend::unknown(place), Lsn(5)), server)
    }

    /// The beginning of a message of that many bytes.
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
        // A server that has said nothing for long is asked to answer.
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
        // Nobody takes any, so the server is held back.
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
