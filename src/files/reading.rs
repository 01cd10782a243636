//! Reading a table's file row by row, from any row on.
//!
//! A value is PostgreSQL's text, as in the stream. In CSV an empty field is null where the field has no quotes, and an
//! empty text where it has: so the file is parsed field by field, and the bytes that a field took are looked at.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::directory;
use super::format::Format;
use super::manifest::TableFile;
use crate::error::{Error, Result};
use crate::language::message;

/// Bytes that are read from the disk at once, and the smallest buffer of a CSV field.
const PIECE: usize = 1 << 18;

/// The values of one row in the order of [`TableFile::columns`]; `None` for null.
pub type FileRow = Vec<Option<String>>;

/// The rows of one file, one after the other. Memory holds one row. Reading blocks the thread.
pub struct RowReader {
    path: PathBuf,
    columns: Vec<String>,
    input: BufReader<File>,
    /// Position of the next row in the file, in bytes.
    offset: u64,
    rows: RowsOf,
}

enum RowsOf {
    Csv(Box<CsvFields>),
    Jsonl(Vec<u8>),
}

impl RowReader {
    /// Opens a file at the row that begins at byte `offset`; 0 stands for the first row.
    ///
    /// # Errors
    /// Refused when the file cannot be read, or when its header names other columns than the manifest.
    pub fn open(directory: &Path, format: Format, file: &TableFile, offset: u64) -> Result<Self> {
        let path = directory.join(&file.file);
        let failed = |error: io::Error| directory::failed("reading", &path, &error);
        let mut input = BufReader::with_capacity(PIECE, File::open(&path).map_err(failed)?);
        input.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let rows = match format {
            Format::Csv => RowsOf::Csv(Box::new(CsvFields::new())),
            Format::Jsonl => RowsOf::Jsonl(Vec::new()),
        };
        let columns = file.columns.iter().map(|column| column.name.clone()).collect();
        let mut reader = RowReader { path, columns, input, offset, rows };
        if offset == 0 && format == Format::Csv {
            reader.header()?;
        }
        Ok(reader)
    }

    /// Position of the next row in the file, in bytes: [`RowReader::open`] begins there again.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next row; `None` at the end of the file.
    ///
    /// # Errors
    /// Refused for bytes that are not a row of the columns. The error holds no values.
    pub fn next_row(&mut self) -> Result<Option<FileRow>> {
        let begin = self.offset;
        let RowReader { path, columns, input, offset, rows } = self;
        let read = match rows {
            RowsOf::Csv(fields) => fields.row(input, offset),
            RowsOf::Jsonl(line) => json_row(input, line, columns, offset),
        };
        match read.map_err(|error| directory::failed("reading", path, &error))? {
            Some(row) if row.len() == columns.len() => Ok(Some(row)),
            None if begin == *offset => Ok(None),
            Some(_) | None => Err(self.broken(begin)),
        }
    }

    fn header(&mut self) -> Result<()> {
        let found = self.next_row()?;
        let names = found.iter().flatten().map(Option::as_deref);
        if names.eq(self.columns.iter().map(|name| Some(name.as_str()))) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "{}: the header names other columns than the manifest",
            self.path.display()
        ))
        .remedy(message!("error-remedy-export-again")))
    }

    fn broken(&self, at: u64) -> Error {
        Error::refused(format!(
            "{}: the bytes from {at} on are not a row of the columns in the manifest",
            self.path.display()
        ))
        .remedy(message!("error-remedy-export-again"))
    }
}

/// Splits CSV as PostgreSQL writes CSV.
struct CsvFields {
    parser: Reader,
    field: Vec<u8>,
}

impl CsvFields {
    fn new() -> Self {
        // Of the bytes that end a record elsewhere, PostgreSQL writes the line feed, and quotes a value with the other.
        let parser = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        CsvFields { parser, field: vec![0; PIECE] }
    }

    /// `None` at the end of the file, or when the row has no end. `offset` advances past the bytes read.
    fn row(&mut self, input: &mut BufReader<File>, offset: &mut u64) -> io::Result<Option<FileRow>> {
        let mut row = FileRow::new();
        let (mut held, mut has_quotes) = (0, false);
        loop {
            let piece = input.fill_buf()?;
            let Some(free) = self.field.get_mut(held..) else {
                return Err(io::ErrorKind::OutOfMemory.into());
            };
            let (result, taken, given) = self.parser.read_field(piece, free);
            let bytes = piece.get(..taken).unwrap_or_default();
            has_quotes |= bytes.contains(&b'"');
            let ends_line = bytes.last() == Some(&b'\n');
            held += given;
            input.consume(taken);
            *offset += taken as u64;
            match result {
                ReadFieldResult::InputEmpty => {}
                ReadFieldResult::OutputFull => self.field.resize(self.field.len() * 2, 0),
                ReadFieldResult::Field { record_end } => {
                    row.push(self.value(held, has_quotes)?);
                    (held, has_quotes) = (0, false);
                    if record_end {
                        // A row that the end of the file ends, in a quoted value too, is a row that was cut.
                        return Ok(ends_line.then_some(row));
                    }
                }
                ReadFieldResult::End => return Ok(None),
            }
        }
    }

    fn value(&mut self, held: usize, has_quotes: bool) -> io::Result<Option<String>> {
        if held == 0 {
            return Ok(has_quotes.then(String::new));
        }
        let text = std::str::from_utf8(self.field.get(..held).unwrap_or_default());
        let text = text.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?.to_owned();
        // One large value must not make every later row as large.
        if self.field.len() > PIECE {
            self.field = vec![0; PIECE];
        }
        Ok(Some(text))
    }
}

/// As [`CsvFields::row`], for a line of JSON. A row of other keys than `columns`, or in another order, has no columns.
fn json_row(
    input: &mut BufReader<File>,
    line: &mut Vec<u8>,
    columns: &[String],
    offset: &mut u64,
) -> io::Result<Option<FileRow>> {
    line.clear();
    line.shrink_to(PIECE);
    *offset += input.read_until(b'\n', line)? as u64;
    let Some(object) = line.strip_suffix(b"\n") else { return Ok(None) };
    let Ok(JsonRow(pairs)) = serde_json::from_slice(object) else { return Ok(None) };
    let is_of_columns = pairs.iter().map(|(name, _)| name).eq(columns);
    Ok(Some(if is_of_columns { pairs.into_iter().map(|(_, value)| value).collect() } else { FileRow::new() }))
}

/// An object of texts and nulls, in the order of its keys.
struct JsonRow(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = JsonRow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and nulls")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<JsonRow, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(JsonRow(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FileColumn;
    use crate::model::change::Table;

    fn read(format: Format, columns: &[&str], content: &str, offset: u64) -> Result<Vec<(u64, FileRow)>> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("t"), content).unwrap();
        let column =
            |name: &&str| FileColumn { name: (*name).into(), sql_type: "text".into(), sequence: None };
        let file = TableFile {
            table: "t".into(),
            holds: Table::LandingLeads,
            file: "t".into(),
            rows: 0,
            bytes: 0,
            sha256: String::new(),
            has_end_marker: false,
            columns: columns.iter().map(column).collect(),
            generated: Vec::new(),
        };
        let mut reader = RowReader::open(directory.path(), format, &file, offset)?;
        let mut rows = Vec::new();
        loop {
            let at = reader.offset();
            match reader.next_row()? {
                Some(row) => rows.push((at, row)),
                None => return Ok(rows),
            }
        }
    }

    fn values(row: &[Option<&str>]) -> FileRow {
        row.iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn null_and_an_empty_text_are_told_apart_in_every_place_of_a_row() {
        let text = "a,b,c\n,\"\",\n\"\",,\"\"\nx,,\"\"\"\"\n";
        let rows: Vec<FileRow> =
            read(Format::Csv, &["a", "b", "c"], text, 0).unwrap().into_iter().map(|row| row.1).collect();
        let expected = [
            values(&[None, Some(""), None]),
            values(&[Some(""), None, Some("")]),
            values(&[Some("x"), None, Some("\"")]),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn what_a_value_may_hold_in_csv_ends_neither_value_nor_row() {
        let long = "ы".repeat(PIECE);
        let text = format!("\"имя \"\"x\"\"\",b\n\"a\n\\.\n\r\nb,\"\"\",\\N\n\"{long}\",\\.\n");
        let rows = read(Format::Csv, &["имя \"x\"", "b"], &text, 0).unwrap();
        assert_eq!(rows[0].1, values(&[Some("a\n\\.\n\r\nb,\""), Some("\\N")]));
        assert_eq!(rows[1].1, values(&[Some(&long), Some("\\.")]));
    }

    #[test]
    fn reading_goes_on_at_the_position_of_any_row() {
        let csv = "a,b\n1,\"x\ny\"\n2,\n3,\"\"\n";
        let jsonl = "{\"a\":\"1\",\"b\":\"x\\ny\"}\n{\"a\":\"2\",\"b\":null}\n{\"a\":\"3\",\"b\":\"\"}\n";
        for (format, text) in [(Format::Csv, csv), (Format::Jsonl, jsonl)] {
            let rows = read(format, &["a", "b"], text, 0).unwrap();
            assert_eq!(rows.len(), 3);
            assert_eq!(rows[1].1, values(&[Some("2"), None]));
            assert_eq!(rows[2].1, values(&[Some("3"), Some("")]));
            for at in 1..rows.len() {
                assert_eq!(read(format, &["a", "b"], text, rows[at].0).unwrap(), rows[at..]);
            }
        }
    }

    #[test]
    fn what_is_not_a_row_of_the_columns_is_refused_without_its_values() {
        let csv = ["a,c\n", "a,b\nsecret\n", "a,b\n1,secret,3\n", "a,b\n1,secret", "a,b\n1,\"secret\n", ""];
        let jsonl = [
            "{\"a\":\"secret\"}\n",
            "{\"b\":\"1\",\"a\":\"secret\"}\n",
            "{\"a\":1,\"b\":\"secret\"}\n",
            "{\"a\":\"1\",\"b\":\"secret\"}",
            "secret\n",
            "\n",
        ];
        let all =
            csv.map(|text| (Format::Csv, text)).into_iter().chain(jsonl.map(|text| (Format::Jsonl, text)));
        for (format, text) in all {
            let error = read(format, &["a", "b"], text, 0).expect_err(text);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
