//! The binary COPY format, row by row as the server sends the rows.
//!
//! Every column is a text. So a field consists of a length and a text, and the text stays a slice of the buffer in
//! which the text arrived.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use futures_util::{StreamExt as _, pin_mut};
use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::model::change::Datum;
use crate::postgres::step::during;

/// First bytes of a copy. Flags, and an extension preceded by its length, follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Stands in place of a row's number of columns, at the end of the copy.
const TRAILER: i16 = -1;
/// Stands in place of a field's length.
const NULL: i32 = -1;

/// The rows of a query whose columns are texts, or null. The values are slices of the buffer in which the rows
/// arrived, so each row is in memory once.
///
/// COPY takes its snapshot before it waits for a table's lock, and a snapshot from before a rewrite sees an empty
/// table. So no row is believed absent until a SELECT, which takes its snapshot after the lock, finds none either.
///
/// # Errors
/// A database that cannot be read.
pub async fn copied(client: &Client, query: &str, width: usize, step: &str) -> Result<Vec<Box<[Datum]>>> {
    loop {
        let rows = copied_once(client, query, width, step).await?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        let exists = format!("SELECT EXISTS ({query})");
        if !during(client, step).row(&exists, &[]).await?.get::<_, bool>(0) {
            return Ok(rows);
        }
    }
}

async fn copied_once(client: &Client, query: &str, width: usize, step: &str) -> Result<Vec<Box<[Datum]>>> {
    let failed = |error| Error::database(step, &error);
    let sql = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let messages = client.copy_out(&sql).await.map_err(failed)?;
    pin_mut!(messages);
    let (mut decoder, mut rows) = (Decoder::new(width), Vec::new());
    while let Some(message) = messages.next().await {
        match decoder.message(message.map_err(failed)?) {
            Ok(CopiedMessage::Row(values)) => rows.push(values),
            Ok(CopiedMessage::End) => {}
            Err(what) => return Err(Error::internal(format!("{step}: {what}"))),
        }
    }
    Ok(rows)
}

/// Content of one message of a copy.
#[derive(Debug, PartialEq, Eq)]
pub enum CopiedMessage {
    Row(Box<[Datum]>),
    /// The end of the rows.
    End,
}

/// Decodes the messages of one copy. The server ends a message after each row.
#[derive(Debug)]
pub struct Decoder {
    width: usize,
    began: bool,
}

impl Decoder {
    /// A decoder for rows of `width` columns.
    pub fn new(width: usize) -> Self {
        Decoder { width, began: false }
    }

    /// # Errors
    /// Bytes that the format does not allow. The error text contains no value of a row.
    pub fn message(&mut self, mut message: Bytes) -> std::result::Result<CopiedMessage, &'static str> {
        if !std::mem::replace(&mut self.began, true) {
            header(&mut message)?;
        }
        let width = message.try_get_i16().map_err(|_| "a copied row ends before it begins")?;
        if width == TRAILER {
            return if message.is_empty() {
                Ok(CopiedMessage::End)
            } else {
                Err("bytes follow the end of a copy")
            };
        }
        if usize::try_from(width) != Ok(self.width) {
            return Err("a copied row has another number of columns");
        }
        let values = (0..self.width).map(|_| field(&mut message)).collect::<std::result::Result<_, _>>()?;
        if message.is_empty() { Ok(CopiedMessage::Row(values)) } else { Err("bytes follow a copied row") }
    }
}

fn header(message: &mut Bytes) -> std::result::Result<(), &'static str> {
    let unknown = "a copy begins with something unknown";
    if !message.starts_with(SIGNATURE) {
        return Err(unknown);
    }
    message.advance(SIGNATURE.len());
    // A flag would announce rows of another shape than the requested shape.
    let (flags, extension) = (message.try_get_i32(), message.try_get_i32());
    if (flags, extension) == (Ok(0), Ok(0)) { Ok(()) } else { Err(unknown) }
}

fn field(message: &mut Bytes) -> std::result::Result<Datum, &'static str> {
    let short = "a copied field ends before its length says";
    let length = message.try_get_i32().map_err(|_| short)?;
    if length == NULL {
        return Ok(Datum::Null);
    }
    let length = usize::try_from(length).map_err(|_| "a copied field has a negative length")?;
    if message.len() < length {
        return Err(short);
    }
    let text = ByteString::try_from(message.split_to(length)).map_err(|_| "a copied text is not UTF-8")?;
    Ok(Datum::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(width: usize) -> Decoder {
        Decoder { width, began: true }
    }

    #[test]
    fn the_first_row_follows_the_header_and_the_end_stands_alone() {
        let mut first = SIGNATURE.to_vec();
        first.extend([0; 8]);
        first.extend(b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff");
        let mut decoder = Decoder::new(2);
        let row = CopiedMessage::Row([Datum::text("abc"), Datum::Null].into());
        assert_eq!(decoder.message(first.into()), Ok(row));
        let row = CopiedMessage::Row([Datum::text(""), Datum::text("t")].into());
        assert_eq!(decoder.message(Bytes::from_static(b"\0\x02\0\0\0\0\0\0\0\x01t")), Ok(row));
        assert_eq!(decoder.message(Bytes::from_static(b"\xff\xff")), Ok(CopiedMessage::End));
    }

    #[test]
    fn an_empty_table_is_a_header_and_an_end() {
        let mut all = SIGNATURE.to_vec();
        all.extend([0; 8]);
        all.extend([0xff, 0xff]);
        assert_eq!(Decoder::new(2).message(all.into()), Ok(CopiedMessage::End));
    }

    #[test]
    fn what_is_cut_left_over_or_of_another_shape_is_refused() {
        let wrong: [&[u8]; 8] = [
            b"",
            b"\0",
            b"\0\x03\0\0\0\0",
            b"\0\x01\0\0\0\x02a",
            b"\0\x01\0\0\0\x01ab",
            b"\0\x01\xff\xff\xff\xfe",
            b"\0\x01\0\0\0\x01\xff",
            b"\xff\xff\0",
        ];
        for message in wrong {
            assert!(begun(1).message(Bytes::from_static(message)).is_err(), "{message:?}");
        }
        assert!(Decoder::new(1).message(Bytes::from_static(b"\0\x01\0\0\0\0")).is_err(), "no header");
    }
}
