//! Whole messages out and in, however the bytes are cut on their way.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::Header;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Carrier of the bytes: TCP, a Unix socket, or TLS over TCP.
pub(in crate::postgres) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Size of the receive buffer. Messages are slices of the buffer, so a message that is kept keeps the whole
/// buffer.
const ROOM: usize = 64 << 10;
/// Free space below this size is not worth a system call.
const SCANT: usize = 8 << 10;
/// Longest message that PostgreSQL sends.
const LONGEST: usize = 1 << 30;
/// How long the server may leave a short message of leadbridge unread.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// A message of the server.
#[derive(Debug)]
pub(super) struct Frame {
    pub tag: u8,
    pub content: Bytes,
}

pub(super) struct Wire {
    socket: Box<dyn Socket>,
    inbound: BytesMut,
    outbound: BytesMut,
}

impl Wire {
    pub fn new(socket: Box<dyn Socket>) -> Self {
        Wire { socket, inbound: BytesMut::new(), outbound: BytesMut::new() }
    }

    /// The next message, if the message has arrived completely.
    pub fn arrived(&mut self) -> io::Result<Option<Frame>> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.inbound.len() < length {
            return Ok(None);
        }
        let mut content = self.inbound.split_to(length).freeze();
        let tag = content.get_u8();
        content.advance(4);
        Ok(Some(Frame { tag, content }))
    }

    /// Length of the next message with its tag, if the header has arrived.
    fn length(&self) -> io::Result<Option<usize>> {
        let Some(header) = Header::parse(&self.inbound)? else { return Ok(None) };
        match usize::try_from(header.len()) {
            Ok(length) if length <= LONGEST => Ok(Some(length + 1)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a message of more than 1 GB")),
        }
    }

    /// Waits for bytes, even a part of a message. Cancellation-safe: a cancelled read has taken nothing.
    pub async fn receive(&mut self) -> io::Result<()> {
        let missing = self.length()?.map_or(0, |length| length.saturating_sub(self.inbound.len()));
        let spare = self.inbound.capacity() - self.inbound.len();
        if missing > spare || spare < SCANT {
            self.inbound.reserve(missing.max(ROOM));
        }
        match self.socket.read_buf(&mut self.inbound).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }

    /// Waits for the next message. Cancellation-safe.
    pub async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(frame);
            }
            self.receive().await?;
        }
    }

    /// Sends the messages that `write` produces. Not cancellation-safe: half a message ends the connection.
    pub async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> io::Result<()> {
        self.outbound.clear();
        write(&mut self.outbound)?;
        let sending = async {
            self.socket.write_all(&self.outbound).await?;
            self.socket.flush().await
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the server no longer reads");
        tokio::time::timeout(WRITE_LIMIT, sending).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_whole_however_they_are_cut() {
        let bytes = b"d\0\0\0\x06hiZ\0\0\0\x05I";
        for cut in 0..bytes.len() {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let mut wire = Wire::new(Box::new(ours));
            theirs.write_all(&bytes[..cut]).await.unwrap();
            if cut > 0 {
                wire.receive().await.unwrap();
            }
            let early = wire.arrived().unwrap();
            assert_eq!(early.is_some(), cut >= 7, "{cut}");
            theirs.write_all(&bytes[cut..]).await.unwrap();
            let first = match early {
                Some(frame) => frame,
                None => wire.next().await.unwrap(),
            };
            assert_eq!((first.tag, &first.content[..]), (b'd', &b"hi"[..]));
            let second = wire.next().await.unwrap();
            assert_eq!((second.tag, &second.content[..]), (b'Z', &b"I"[..]));
        }
    }

    #[tokio::test]
    async fn a_length_that_makes_no_sense_ends_the_connection() {
        for bytes in [b"d\0\0\0\x03", b"d\x7f\xff\xff\xff"] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(bytes).await.unwrap();
            Wire::new(Box::new(ours)).next().await.unwrap_err();
        }
    }
}
