//! A bounds-checked cursor over a message.

use std::fmt;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

/// The bytes are not a `pgoutput` message of protocol version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The message ends within the named field.
    Truncated(&'static str),
    /// Bytes are left over after the message's end.
    Trailing(usize),
    /// A tag or flag unknown to the format, in the named field.
    Unknown(&'static str, u8),
    /// A negative count or length.
    Negative(&'static str),
    /// Text that is not UTF-8. `client_encoding = UTF8` rules out such text.
    NotUtf8(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated(what) => write!(f, "pgoutput message ends within {what}"),
            DecodeError::Trailing(bytes) => write!(f, "pgoutput message has {bytes} bytes left over"),
            DecodeError::Unknown(what, byte) => write!(f, "pgoutput {what} 0x{byte:02x} is unknown"),
            DecodeError::Negative(what) => write!(f, "pgoutput {what} is negative"),
            DecodeError::NotUtf8(what) => write!(f, "pgoutput {what} is not UTF-8"),
        }
    }
}

impl std::error::Error for DecodeError {}

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) struct ByteReader(Bytes);

impl ByteReader {
    pub(super) fn new(message: Bytes) -> Self {
        ByteReader(message)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.0.try_get_u8().map_err(|_| DecodeError::Truncated(what))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.0.try_get_u32().map_err(|_| DecodeError::Truncated(what))
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64> {
        self.0.try_get_i64().map_err(|_| DecodeError::Truncated(what))
    }

    /// A column count: a non-negative Int16.
    pub(super) fn count16(&mut self, what: &'static str) -> Result<usize> {
        let count = self.0.try_get_i16().map_err(|_| DecodeError::Truncated(what))?;
        usize::try_from(count).map_err(|_| DecodeError::Negative(what))
    }

    /// A length or a relation count: a non-negative Int32.
    pub(super) fn count32(&mut self, what: &'static str) -> Result<usize> {
        let count = self.0.try_get_i32().map_err(|_| DecodeError::Truncated(what))?;
        usize::try_from(count).map_err(|_| DecodeError::Negative(what))
    }

    /// `length` bytes, shared with the message.
    pub(super) fn bytes(&mut self, length: usize, what: &'static str) -> Result<Bytes> {
        if self.0.len() < length {
            return Err(DecodeError::Truncated(what));
        }
        Ok(self.0.split_to(length))
    }

    /// The remaining bytes.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    /// `length` bytes of text, shared with the message.
    pub(super) fn text(&mut self, length: usize, what: &'static str) -> Result<ByteString> {
        ByteString::try_from(self.bytes(length, what)?).map_err(|_| DecodeError::NotUtf8(what))
    }

    /// Text up to a zero byte.
    pub(super) fn name(&mut self, what: &'static str) -> Result<ByteString> {
        let length = self.0.iter().position(|&byte| byte == 0).ok_or(DecodeError::Truncated(what))?;
        let name = self.text(length, what)?;
        self.0.advance(1);
        Ok(name)
    }

    /// Capacity for `count` items, at most the number of the message's remaining bytes, because a count from
    /// outside is not trusted.
    pub(super) fn capacity(&self, count: usize) -> usize {
        count.min(self.0.len())
    }

    pub(super) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}
