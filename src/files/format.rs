//! The two formats of an export's file: CSV as PostgreSQL writes CSV, and a JSON object on each line. No I/O
//! here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::manifest::FileColumn;
use crate::error::{Error, Result};

/// Format of the rows in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `COPY … (FORMAT csv, HEADER)`, byte for byte.
    #[default]
    Csv,
    /// An object on each line: each value PostgreSQL's text in a JSON string, null for null.
    Jsonl,
}

impl Format {
    /// Options of COPY. JSON lines are made here from COPY's text format, because the server's own JSON would
    /// make numbers of some values, and could not tell a JSON null from SQL's null.
    pub(super) fn copy_options(self) -> &'static str {
        match self {
            Format::Csv => "FORMAT csv, HEADER",
            Format::Jsonl => "FORMAT text",
        }
    }

    /// As [`Format::copy_options`], for rows that follow others in the same file.
    pub(super) fn further_options(self) -> &'static str {
        match self {
            Format::Csv => "FORMAT csv",
            Format::Jsonl => "FORMAT text",
        }
    }
}

/// The ending of a file's name.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
        })
    }
}

/// One row of COPY's text format as a JSON object, with the keys in the order of `columns` and a newline at
/// the end.
///
/// # Errors
/// `Internal` for bytes that are not a row of these columns. The error holds no values.
pub(super) fn json_line(columns: &[FileColumn], row: &[u8]) -> Result<Vec<u8>> {
    let not_a_row = || Error::internal("COPY sent a row that is not understood");
    let row = row.strip_suffix(b"\n").ok_or_else(not_a_row)?;
    let values: Vec<&[u8]> = row.split(|byte| *byte == b'\t').collect();
    // A row without columns would also have one field, an empty one. Every table here has a key at least.
    if values.len() != columns.len() {
        return Err(not_a_row());
    }
    let mut line = Vec::with_capacity(row.len() * 2);
    let json = |line: &mut Vec<u8>, text: &str| {
        serde_json::to_writer(line, text).map_err(|error| Error::internal(error.to_string()))
    };
    for (column, value) in columns.iter().zip(values) {
        line.push(if line.is_empty() { b'{' } else { b',' });
        json(&mut line, &column.name)?;
        line.push(b':');
        match value {
            br"\N" => line.extend_from_slice(b"null"),
            escaped => json(&mut line, &String::from_utf8(unescaped(escaped)).map_err(|_| not_a_row())?)?,
        }
    }
    line.extend_from_slice(b"}\n");
    Ok(line)
}

/// Undoes all escapes that a server writes in COPY's text format.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(other) => *other,
                None => b'\\',
            },
            plain => *plain,
        });
    }
    plain
}

/// Counts the rows of a file that is read in pieces.
#[derive(Debug)]
pub(super) struct RowCounter {
    format: Format,
    lines: u64,
    /// Inside a quoted value, where a newline ends no row. A doubled quote leaves the value and enters the
    /// value again.
    quoted: bool,
}

impl RowCounter {
    pub fn new(format: Format) -> Self {
        RowCounter { format, lines: 0, quoted: false }
    }

    pub fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                b'"' if self.format == Format::Csv => self.quoted = !self.quoted,
                b'\n' if !self.quoted => self.lines += 1,
                _ => {}
            }
        }
    }

    /// Number of rows, without the header.
    pub fn rows(&self) -> u64 {
        match self.format {
            Format::Csv => self.lines.saturating_sub(1),
            Format::Jsonl => self.lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<FileColumn> {
        let column =
            |name: &&str| FileColumn { name: (*name).into(), sql_type: "text".into(), sequence: None };
        names.iter().map(column).collect()
    }

    #[test]
    fn a_row_becomes_an_object_with_every_value_as_it_is() {
        let columns = columns(&["id", "имя \"x\"", "c", "d", "e"]);
        let row = "1\tАйгерим\\nи\\\\n\t\\N\t\t\\\\N\n".as_bytes();
        let line = json_line(&columns, row).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"id\":\"1\",\"имя \\\"x\\\"\":\"Айгерим\\nи\\\\n\",\"c\":null,\"d\":\"\",\"e\":\"\\\\N\"}\n"
        );
    }

    #[test]
    fn every_control_character_survives_and_no_line_is_broken() {
        let columns = columns(&["a"]);
        let line = json_line(&columns, b"\\b\\f\\n\\r\\t\\v\x01\x7f\\\\b\n").unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(object["a"], "\u{8}\u{c}\n\r\t\u{b}\u{1}\u{7f}\\b");
    }

    #[test]
    fn what_is_no_row_is_refused_without_its_values() {
        let two = columns(&["a", "b"]);
        for row in [&b"secret"[..], b"secret\n", b"secret\tx\ty\n", b"secret\t\xff\n"] {
            assert!(!json_line(&two, row).unwrap_err().to_string().contains("secret"));
        }
    }

    #[test]
    fn rows_are_counted_by_what_ends_them_however_the_file_is_cut() {
        let text = b"id,name\n1,\"a\nb \"\"c\"\"\n\"\n2,\n";
        for size in 1..=text.len() {
            let mut counter = RowCounter::new(Format::Csv);
            text.chunks(size).for_each(|piece| counter.read(piece));
            assert_eq!(counter.rows(), 2, "in pieces of {size}");
        }
        let mut counter = RowCounter::new(Format::Jsonl);
        counter.read(b"{\"a\":\"\\\"\"}\n{}\n");
        assert_eq!(counter.rows(), 2);
    }
}
