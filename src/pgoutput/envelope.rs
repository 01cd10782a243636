//! Contents of a replication stream: keepalives, and the messages of `pgoutput` in their envelopes.

use bytes::Bytes;
use bytestring::ByteString;

use super::reader::{ByteReader, DecodeError};
use crate::model::lsn::Lsn;

/// A message of the server in a stream. Times are microseconds since 2000 by the server's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicationEvent {
    KeepAlive {
        /// Everything before this position has been sent.
        wal_end: Lsn,
        reply_requested: bool,
        server_time_micros: i64,
    },
    Begin {
        /// Position of the commit record.
        final_lsn: Lsn,
        xid: u32,
        commit_time_micros: i64,
    },
    Commit {
        end_lsn: Lsn,
        commit_time_micros: i64,
    },
    /// A message from `pg_logical_emit_message`.
    Message {
        transactional: bool,
        lsn: Lsn,
        prefix: ByteString,
        content: Bytes,
    },
    /// Any other message of `pgoutput`, not decoded yet.
    XLogData {
        data: Bytes,
    },
}

/// What the beginning of a CopyData message says of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A message from `pg_logical_emit_message`. Any role may write such a message, of any size.
    LogicalMessage {
        lsn: Lsn,
    },
    /// A row change of the relation with this OID, with one image of the row, or with the old and the new.
    Change {
        relation: u32,
        images: usize,
    },
    Other,
}

impl Beginning {
    /// `None` when too few bytes have arrived. A message of fewer than [`Self::NEEDS`] bytes has none.
    pub fn of(beginning: &[u8]) -> Option<Beginning> {
        let beginning = beginning.get(..Self::NEEDS)?;
        let (Some(b'w'), Some(&tag)) = (beginning.first(), beginning.get(Self::TAG)) else {
            return Some(Beginning::Other);
        };
        let number = |from: usize, bytes: usize| {
            let digits = beginning.get(from..from + bytes).unwrap_or_default();
            digits.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        let kind = beginning.get(Self::TAG + 5);
        Some(match tag {
            b'M' => Beginning::LogicalMessage { lsn: Lsn(number(Self::TAG + 2, 8)) },
            b'I' | b'U' | b'D' => Beginning::Change {
                relation: u32::try_from(number(Self::TAG + 1, 4)).unwrap_or_default(),
                images: if tag == b'U' && kind == Some(&b'O') { 2 } else { 1 },
            },
            _ => Beginning::Other,
        })
    }

    /// Bytes that a beginning needs: the envelope, the tag, and ten bytes of the message.
    pub const NEEDS: usize = Self::TAG + 11;
    /// Place of the message's tag, after the envelope.
    const TAG: usize = 25;
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Opens the content of a CopyData message. The result shares the message's buffer.
///
/// # Errors
/// Truncated, left-over or unknown bytes; a prefix that is not UTF-8.
pub fn open_envelope(content: Bytes) -> Result<ReplicationEvent> {
    let mut reader = ByteReader::new(content);
    match reader.u8("envelope")? {
        b'k' => {
            let wal_end = lsn(&mut reader, "keepalive position")?;
            let server_time_micros = reader.i64("keepalive time")?;
            let reply_requested = reader.u8("keepalive reply flag")? != 0;
            reader.end()?;
            Ok(ReplicationEvent::KeepAlive { wal_end, reply_requested, server_time_micros })
        }
        b'w' => {
            // The data's beginning and end, and the server's clock, are skipped, because commits and
            // keepalives carry positions and times.
            for what in ["data start", "data end", "data time"] {
                reader.i64(what)?;
            }
            message(reader.rest())
        }
        tag => Err(DecodeError::Unknown("envelope", tag)),
    }
}

fn message(data: Bytes) -> Result<ReplicationEvent> {
    if !matches!(data.first(), Some(b'B' | b'C' | b'M')) {
        return Ok(ReplicationEvent::XLogData { data });
    }
    let mut reader = ByteReader::new(data);
    let event = match reader.u8("message tag")? {
        b'B' => ReplicationEvent::Begin {
            final_lsn: lsn(&mut reader, "final position")?,
            commit_time_micros: reader.i64("commit time")?,
            xid: reader.u32("transaction id")?,
        },
        b'C' => {
            reader.u8("commit flags")?;
            lsn(&mut reader, "commit position")?;
            let end_lsn = lsn(&mut reader, "commit end")?;
            ReplicationEvent::Commit { end_lsn, commit_time_micros: reader.i64("commit time")? }
        }
        _ => {
            let transactional = reader.u8("message flags")? & 1 != 0;
            let lsn = lsn(&mut reader, "message position")?;
            let prefix = reader.name("message prefix")?;
            let length = reader.count32("message length")?;
            let content = reader.bytes(length, "message content")?;
            ReplicationEvent::Message { transactional, lsn, prefix, content }
        }
    };
    reader.end()?;
    Ok(event)
}

fn lsn(reader: &mut ByteReader, what: &'static str) -> Result<Lsn> {
    reader.i64(what).map(|position| Lsn(position.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(data: &[u8]) -> Bytes {
        [b"w", &[0; 24][..], data].concat().into()
    }

    fn numbers(numbers: &[i64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn a_keepalive_says_how_far_the_server_is_and_whether_it_waits_for_a_reply() {
        let content = [b"k", &*numbers(&[0x16_0000_0001, 7]), &[1]].concat();
        let event = ReplicationEvent::KeepAlive {
            wal_end: Lsn(0x16_0000_0001),
            reply_requested: true,
            server_time_micros: 7,
        };
        assert_eq!(open_envelope(content.into()), Ok(event));
    }

    #[test]
    fn the_bounds_of_a_transaction_and_a_message_are_opened_and_all_else_is_left_to_the_decoder() {
        let begin = [b"B", &*numbers(&[9, 8]), &[0, 0, 0, 5]].concat();
        let expected = ReplicationEvent::Begin { final_lsn: Lsn(9), xid: 5, commit_time_micros: 8 };
        assert_eq!(open_envelope(envelope(&begin)), Ok(expected));
        let commit = [b"C\0", &*numbers(&[9, 10, 8])].concat();
        let expected = ReplicationEvent::Commit { end_lsn: Lsn(10), commit_time_micros: 8 };
        assert_eq!(open_envelope(envelope(&commit)), Ok(expected));
        let emitted = [b"M\x01", &*numbers(&[9]), b"ours\0\0\0\0\x02hi"].concat();
        let expected = ReplicationEvent::Message {
            transactional: true,
            lsn: Lsn(9),
            prefix: "ours".into(),
            content: Bytes::from_static(b"hi"),
        };
        assert_eq!(open_envelope(envelope(&emitted)), Ok(expected));
        let expected = ReplicationEvent::XLogData { data: Bytes::from_static(b"I...") };
        assert_eq!(open_envelope(envelope(b"I...")), Ok(expected));
    }

    #[test]
    fn bytes_that_are_missing_or_left_over_are_an_error_and_never_a_panic() {
        let whole: [Vec<u8>; 4] = [
            [b"k", &*numbers(&[1, 2]), &[0]].concat(),
            envelope(&[b"B", &*numbers(&[9, 8]), &[0, 0, 0, 5]].concat()).to_vec(),
            envelope(&[b"C\0", &*numbers(&[9, 10, 8])].concat()).to_vec(),
            envelope(&[b"M\0", &*numbers(&[9]), b"p\0\0\0\0\x02hi"].concat()).to_vec(),
        ];
        for content in whole {
            assert!(open_envelope(content.clone().into()).is_ok());
            let longer = [&content[..], b"x"].concat();
            assert_eq!(open_envelope(longer.into()), Err(DecodeError::Trailing(1)));
            // An envelope without content is left to the decoder, and the decoder refuses an empty message.
            for length in (0..content.len()).filter(|length| content[0] == b'k' || *length != 25) {
                assert!(open_envelope(content[..length].to_vec().into()).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn the_beginning_tells_a_message_from_a_row_before_the_rest_has_arrived() {
        let message = envelope(&[b"M\0", &*numbers(&[0x16_0000_0001]), b"prefix"].concat());
        assert_eq!(Beginning::of(&message), Some(Beginning::LogicalMessage { lsn: Lsn(0x16_0000_0001) }));
        for (row, images) in [(b"I\0\x01\0\x07N", 1), (b"U\0\x01\0\x07K", 1), (b"U\0\x01\0\x07O", 2)] {
            let content = envelope(&[&row[..], &[0; 9]].concat());
            assert_eq!(Beginning::of(&content), Some(Beginning::Change { relation: 0x1_0007, images }));
            assert_eq!(Beginning::of(&content[..Beginning::NEEDS - 1]), None);
        }
        assert_eq!(Beginning::of(&envelope(&[b'R'; 20])), Some(Beginning::Other));
        assert_eq!(Beginning::of(&[b'k'; 40]), Some(Beginning::Other));
    }
}
