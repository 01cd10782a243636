//! Messages out and in, however the bytes are cut on their way. A message that is longer than `leadbridge` takes
//! arrives as its beginning: the other bytes are discarded while they arrive, and never held.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::Header;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::pgoutput::Beginning;

/// Carrier of the bytes: TCP, a Unix socket, or TLS over TCP.
pub(in crate::postgres) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Size of the receive buffer. Messages are slices of the buffer, so a message that is kept keeps the whole
/// buffer.
const ROOM: usize = 64 << 10;
/// Free space below this size is not worth a system call.
const SCANT: usize = 8 << 10;
/// Longest message that PostgreSQL sends: a string buffer of 1 GB, and the length itself.
const LONGEST: usize = (1 << 30) + 4;
/// Longest image of a row in a stream. The largest promised row has some 50 MB.
pub(super) const LONGEST_IMAGE: usize = 64 << 20;
/// Longest answer row and column description, longest other message of a stream.
const LONGEST_ANSWER: usize = 1 << 20;
/// Longest error, notice, setting or request for authentication.
const LONGEST_NOTICE: usize = 64 << 10;
/// Longest logical message. A marker has less than 100 bytes, so a longer message is not leadbridge's.
const LONGEST_MARKER: usize = 1 << 10;
/// Bytes kept of a stream's message that is cut.
const BEGINNING: usize = 64;
/// How long the server may leave a short message of leadbridge unread.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// A message of the server.
#[derive(Debug)]
pub(super) struct Frame {
    pub tag: u8,
    /// The beginning only where the message is longer than leadbridge takes.
    pub content: Bytes,
    /// Length of the whole content.
    pub length: usize,
}

impl Frame {
    pub fn is_cut(&self) -> bool {
        self.content.len() < self.length
    }
}

pub(super) struct Wire {
    socket: Box<dyn Socket>,
    inbound: BytesMut,
    outbound: BytesMut,
    /// Bytes of the last message that are still to be discarded.
    unwanted: usize,
}

/// The next message: its length with tag and header, and the bytes that are kept.
struct Kept {
    length: usize,
    kept: usize,
}

/// Tag and length of a message.
const HEADER: usize = 5;

impl Wire {
    pub fn new(socket: Box<dyn Socket>) -> Self {
        Wire { socket, inbound: BytesMut::new(), outbound: BytesMut::new(), unwanted: 0 }
    }

    /// The next message, if the kept bytes of the message have arrived.
    pub fn arrived(&mut self) -> io::Result<Option<Frame>> {
        let Some(Kept { length, kept }) = self.kept()? else { return Ok(None) };
        if self.inbound.len() < kept {
            return Ok(None);
        }
        let mut content = self.inbound.split_to(kept).freeze();
        self.unwanted = length - kept;
        let tag = content.get_u8();
        content.advance(HEADER - 1);
        // A few bytes of the receive buffer must not keep the whole buffer.
        let content = if kept < length { Bytes::copy_from_slice(&content) } else { content };
        Ok(Some(Frame { tag, content, length: length - HEADER }))
    }

    /// The length of the next message, and how much of it is kept, if enough of the message has arrived to tell.
    fn kept(&mut self) -> io::Result<Option<Kept>> {
        let unwanted = self.unwanted.min(self.inbound.len());
        self.inbound.advance(unwanted);
        self.unwanted -= unwanted;
        if self.unwanted > 0 {
            return Ok(None);
        }
        let Some(header) = Header::parse(&self.inbound)? else { return Ok(None) };
        let length = match usize::try_from(header.len()) {
            Ok(length) if length <= LONGEST => length + 1,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of more than 1 GB")),
        };
        let content = self.inbound.get(HEADER..).unwrap_or_default();
        let kept = kept_of(header.tag(), content, length - HEADER);
        Ok(kept.map(|kept| Kept { length, kept: HEADER + kept }))
    }

    /// Waits for bytes, even a part of a message. Cancellation-safe: a cancelled read has taken nothing.
    pub async fn receive(&mut self) -> io::Result<()> {
        let missing = self.kept()?.map_or(0, |message| message.kept.saturating_sub(self.inbound.len()));
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

/// Number of bytes that are kept of a message with `length` bytes of content; `None` when `beginning`, the bytes
/// that have arrived, does not tell.
fn kept_of(tag: u8, beginning: &[u8], length: usize) -> Option<usize> {
    let (longest, kept) = match tag {
        b'd' if length <= LONGEST_MARKER => return Some(length),
        b'd' => match Beginning::of(beginning)? {
            Beginning::LogicalMessage { .. } => (LONGEST_MARKER, BEGINNING),
            Beginning::Change { images, .. } => (LONGEST_IMAGE * images, BEGINNING),
            Beginning::Other => (LONGEST_ANSWER, BEGINNING),
        },
        b'D' | b'T' => (LONGEST_ANSWER, BEGINNING),
        _ => (LONGEST_NOTICE, LONGEST_NOTICE),
    };
    Some(if length <= longest { length } else { kept })
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

    /// A message of a stream with `length` bytes of content, which begins with `beginning`.
    fn streamed(beginning: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = vec![b'd'];
        bytes.extend((length as u32 + 4).to_be_bytes());
        bytes.extend([&[b'w'][..], &[0; 24], beginning].concat());
        bytes.resize(length + HEADER, b'x');
        bytes
    }

    /// Reads one message and the message after it, which `rest` ends.
    async fn read_before_an_end(bytes: Vec<u8>) -> (Frame, usize) {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let writing = tokio::spawn(async move {
            theirs.write_all(&bytes).await.unwrap();
            theirs.write_all(b"Z\0\0\0\x05I").await.unwrap();
            theirs
        });
        let mut wire = Wire::new(Box::new(ours));
        let first = wire.next().await.unwrap();
        let second = wire.next().await.unwrap();
        assert_eq!((second.tag, &second.content[..]), (b'Z', &b"I"[..]));
        writing.await.unwrap();
        (first, wire.inbound.capacity())
    }

    #[tokio::test]
    async fn of_a_message_that_is_too_long_only_the_beginning_is_held() {
        const MEGABYTES: usize = 1 << 20;
        let insert = b"I\0\0\0\x07N";
        let full_update = b"U\0\0\0\x07O";
        for (bytes, is_cut) in [
            (streamed(b"M\0", 300 * MEGABYTES), true),
            (streamed(b"M\0", LONGEST_MARKER), false),
            (streamed(insert, LONGEST_IMAGE), false),
            (streamed(insert, LONGEST_IMAGE + 1), true),
            (streamed(full_update, LONGEST_IMAGE + 1), false),
            (streamed(full_update, 2 * LONGEST_IMAGE + 1), true),
            (streamed(b"R\0\0\0\0\0", LONGEST_ANSWER + 1), true),
        ] {
            let length = bytes.len() - HEADER;
            let (frame, capacity) = read_before_an_end(bytes).await;
            assert_eq!((frame.is_cut(), frame.length), (is_cut, length));
            assert!(!is_cut || frame.content.len() == BEGINNING && capacity <= 2 * ROOM, "{capacity}");
        }
    }

    #[tokio::test]
    async fn a_long_error_keeps_its_first_fields() {
        let mut bytes = b"E\x10\0\0\x04SFATAL\0C57P01\0Mterminating\0D".to_vec();
        bytes.resize(5 + (1 << 28), b'x');
        let (frame, capacity) = read_before_an_end(bytes).await;
        assert!(
            frame.is_cut() && frame.content.len() == LONGEST_NOTICE && capacity <= 4 * ROOM,
            "{capacity}"
        );
        assert!(frame.content.starts_with(b"SFATAL\0C57P01\0Mterminating\0D"));
    }
}
