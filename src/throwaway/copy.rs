//! COPY in PostgreSQL's text format, the fastest way for a client to write rows.

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Client;

use crate::error::{Error, Result};

/// Bytes gathered before each send.
const CHUNK: usize = 256 * 1024;

/// Writes `rows` into `table`, in a transaction of its own or in the open transaction. Returns the number of
/// rows.
pub(super) async fn copy_in<const N: usize>(
    client: &Client,
    table: &str,
    columns: &[&str; N],
    rows: impl IntoIterator<Item = [Option<String>; N]>,
) -> Result<u64> {
    let step = format!("writing made-up rows to {table}");
    let sql = format!("COPY {table} ({}) FROM STDIN", columns.join(", "));
    let failed = |e| Error::database(&step, &e);
    let mut sink = pin!(client.copy_in::<_, Bytes>(&sql).await.map_err(failed)?);
    let mut buffer = BytesMut::new();
    for row in rows {
        put_row(&mut buffer, &row);
        if buffer.len() >= CHUNK {
            sink.send(buffer.split().freeze()).await.map_err(failed)?;
        }
    }
    sink.send(buffer.freeze()).await.map_err(failed)?;
    sink.finish().await.map_err(failed)
}

fn put_row(buffer: &mut BytesMut, row: &[Option<String>]) {
    for (position, value) in row.iter().enumerate() {
        if position > 0 {
            buffer.put_u8(b'\t');
        }
        match value {
            None => buffer.put_slice(b"\\N"),
            Some(text) => put_escaped(buffer, text),
        }
    }
    buffer.put_u8(b'\n');
}

/// Copies runs of plain bytes as a whole, because most of the text is plain, and there may be gigabytes of
/// text.
fn put_escaped(buffer: &mut BytesMut, text: &str) {
    let special = |c| matches!(c, '\\' | '\n' | '\r' | '\t');
    let mut plain_from = 0;
    for (at, found) in text.match_indices(special) {
        buffer.put_slice(&text.as_bytes()[plain_from..at]);
        buffer.put_slice(match found {
            "\n" => b"\\n",
            "\r" => b"\\r",
            "\t" => b"\\t",
            _ => b"\\\\",
        });
        plain_from = at + found.len();
    }
    buffer.put_slice(&text.as_bytes()[plain_from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format_escapes_what_it_uses_itself() {
        let mut buffer = BytesMut::new();
        put_row(&mut buffer, &[None, Some("a\tb\\N\r\n".into()), Some(String::new())]);
        assert_eq!(&buffer[..], b"\\N\ta\\tb\\\\N\\r\\n\t\n");
    }
}
