//! One connection: two pumps that obey the faults.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::faults::{Conduct, Direction, Faults, Link, conduct};
use super::reach;
use super::wire::{Answers, full, read_start};

/// The largest forwarded piece.
const PIECE: usize = 1 << 16;
/// Fraction of a second's bytes in one piece of a throttled connection.
const SPOONFUL: u32 = 20;

/// Serves `client` until either side is gone. A vanished peer is no error of the proxy.
pub async fn serve(mut client: TcpStream, server: u16, faults: Arc<Faults>) {
    let Ok(start) = read_start(&mut client).await else { return };
    let Some(link) = faults.open(start.application_name) else { return };
    if conduct(&faults.subscribe().borrow(), link.name.as_deref()).turned_away {
        // The peer may be gone already, after enough input.
        let _ = client.write_all(&full()).await;
    } else if let Some(mut server) = reach(server).await
        && server.write_all(&start.bytes).await.is_ok()
        && client.set_nodelay(true).is_ok()
    {
        carry(client, server, &link, &faults).await;
    }
    faults.closed(&link);
}

async fn carry(client: TcpStream, server: TcpStream, link: &Link, faults: &Faults) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut up = Pump { link, faults, direction: Direction::ToServer, answers: None };
    let mut down = Pump { link, faults, direction: Direction::ToClient, answers: Some(Answers::default()) };
    let both = async {
        // Either end closes the connection, because PostgreSQL's protocol has no half-closed connection.
        tokio::select! {
            _ = up.pump(&mut from_client, &mut to_server) => {}
            _ = down.pump(&mut from_server, &mut to_client) => {}
        }
    };
    tokio::select! {
        biased;
        () = link.cut.cancelled() => {
            // Without lingering, dropping a socket resets the peer. Fails only when the peer is gone already.
            let _ = to_client.as_ref().set_zero_linger();
            let _ = to_server.as_ref().set_zero_linger();
        }
        () = both => {}
    }
}

struct Pump<'l> {
    link: &'l Link,
    faults: &'l Faults,
    direction: Direction,
    /// Only for the direction from the server.
    answers: Option<Answers>,
}

impl Pump<'_> {
    /// Forwards until the sender closes, or the connection is cut. A dead direction never ends: neither side learns
    /// that the other is gone.
    async fn pump(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let dead = self.link.dead(self.direction).clone();
        tokio::select! {
            biased;
            () = dead.cancelled() => std::future::pending().await,
            ended = self.forward(from, to) => ended,
        }
    }

    async fn forward(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let mut lasting = self.faults.subscribe();
        let name = self.link.name.as_deref();
        let mut buffer = vec![0; PIECE];
        loop {
            let Conduct { bytes_per_second, .. } = conduct(&lasting.borrow_and_update(), name);
            let most = bytes_per_second.map_or(PIECE, |rate| ((rate / SPOONFUL) as usize).clamp(1, PIECE));
            let count = from.read(&mut buffer[..most]).await?;
            if count == 0 {
                return Ok(());
            }
            if self.direction == Direction::ToServer {
                self.spoil_begin(&mut buffer[..count]);
            }
            let piece = &buffer[..count];
            // The faults at the arrival of the piece count, not the faults at the start of the wait.
            let now = conduct(&lasting.borrow_and_update(), name);
            if let Some(delay) = now.delay {
                tokio::time::sleep(delay).await;
            }
            if let Some(rate) = now.bytes_per_second {
                tokio::time::sleep(Duration::from_secs_f64(count as f64 / f64::from(rate))).await;
            }
            // The sender lives as long as the faults.
            let _ = lasting.wait_for(|faults| !conduct(faults, name).stalled).await;
            if self.commit_is_to_be_cut(piece) {
                self.link.cut.cancel();
                return std::future::pending().await;
            }
            to.write_all(piece).await?;
        }
    }

    /// A BEGIN is never split: the first word of a short message of its own.
    fn spoil_begin(&self, piece: &mut [u8]) {
        let begin = b"BEGIN;";
        if let Some(at) = piece.windows(begin.len()).position(|bytes| bytes == begin)
            && self.faults.begins(self.link)
        {
            piece[at..at + begin.len()].copy_from_slice(b"BEGUN;");
        }
    }

    fn commit_is_to_be_cut(&mut self, mut piece: &[u8]) -> bool {
        let Some(answers) = &mut self.answers else { return false };
        while let Some(end) = answers.commit_in(piece) {
            if self.faults.committed(self.link) {
                return true;
            }
            piece = &piece[end..];
        }
        false
    }
}
