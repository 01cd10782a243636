//! Mapped rows in PostgreSQL's binary COPY format; pure.
//!
//! The encoder takes only texts with a single meaning. Any other text gives no row, and the caller sends the
//! text to the server instead, because only PostgreSQL decides if a text is valid.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use uuid::Uuid;

use super::statements::FIXED;
use crate::mapping::{Target, TrafficRow};
use crate::model::timestamp::Timestamp;

/// Signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Stands in the place of the next row's number of columns.
const TRAILER: i16 = -1;
const NULL: i32 = -1;
/// The only version of jsonb's wire format. The text follows the version.
const JSONB_VERSION: u8 = 1;
/// Bytes handed to the connection at a time. A text of this length is not copied: its pieces are slices of the
/// text.
const PIECE: usize = 64 << 10;

/// Rows of one table, as `COPY … FROM STDIN (FORMAT binary)` takes them.
pub(super) struct Encoder<'t> {
    targets: &'t [Target],
    /// A column after the mapped ones that has the same value in every row.
    constant: Option<&'t str>,
    out: BytesMut,
    /// Output before `out`.
    pieces: VecDeque<Bytes>,
}

impl<'t> Encoder<'t> {
    /// Columns in the order of [`super::statements::copy`].
    pub(super) fn new(targets: &'t [Target], constant: Option<&'t str>) -> Self {
        let mut out = BytesMut::new();
        out.put_slice(HEADER);
        Encoder { targets, constant, out, pieces: VecDeque::new() }
    }

    /// Returns false when a value has no single meaning; the encoder's output is then useless.
    pub(super) fn row(&mut self, row: &TrafficRow, synced: Timestamp) -> bool {
        let columns = FIXED.len() + self.targets.len() + usize::from(self.constant.is_some());
        let Ok(columns) = i16::try_from(columns) else { return false };
        self.out.put_i16(columns);
        let fixed = self.field(row.id.as_bytes()) && self.field(&synced.0.to_be_bytes());
        let mut values = self.targets.iter().zip(&row.values);
        fixed
            && values.all(|(target, value)| match value {
                Some(text) => self.value(&target.sql_type, text),
                None => self.null(),
            })
            && self.constant.is_none_or(|constant| self.field(constant.as_bytes()))
    }

    fn value(&mut self, sql_type: &str, text: &ByteString) -> bool {
        let fixed = match sql_type {
            "text" | "json" => return self.text(&[], text),
            "jsonb" => return self.text(&[JSONB_VERSION], text),
            "boolean" => boolean(text).map(|value| self.field(&[value])),
            "smallint" => text.parse::<i16>().ok().map(|value| self.field(&value.to_be_bytes())),
            "real" => text.parse::<f32>().ok().map(|value| self.field(&value.to_be_bytes())),
            "double precision" => text.parse::<f64>().ok().map(|value| self.field(&value.to_be_bytes())),
            "integer" => text.parse::<i32>().ok().map(|value| self.field(&value.to_be_bytes())),
            "bigint" => text.parse::<i64>().ok().map(|value| self.field(&value.to_be_bytes())),
            "uuid" => text.parse::<Uuid>().ok().map(|value| self.field(value.as_bytes())),
            "timestamptz" => Timestamp::from_output(text).map(|value| self.field(&value.0.to_be_bytes())),
            _ => None,
        };
        fixed.unwrap_or(false)
    }

    fn null(&mut self) -> bool {
        self.out.put_i32(NULL);
        true
    }

    fn text(&mut self, prefix: &[u8], text: &ByteString) -> bool {
        let Ok(length) = i32::try_from(prefix.len() + text.len()) else { return false };
        self.out.put_i32(length);
        self.out.put_slice(prefix);
        if text.len() < PIECE {
            self.out.put_slice(text.as_bytes());
            return true;
        }
        let mut rest = text.as_bytes().clone();
        self.pieces.push_back(self.out.split().freeze());
        while !rest.is_empty() {
            self.pieces.push_back(rest.split_to(PIECE.min(rest.len())));
        }
        true
    }

    fn field(&mut self, bytes: &[u8]) -> bool {
        let Ok(length) = i32::try_from(bytes.len()) else { return false };
        self.out.put_i32(length);
        self.out.put_slice(bytes);
        true
    }

    /// The next piece of the output; `None` until the output is worth another piece.
    pub(super) fn piece(&mut self) -> Option<Bytes> {
        let next = self.pieces.pop_front();
        next.or_else(|| (self.out.len() >= PIECE).then(|| self.out.split().freeze()))
    }

    /// The rest of the output after the last piece, with the trailer.
    pub(super) fn finish(mut self) -> Bytes {
        self.out.put_i16(TRAILER);
        self.out.freeze()
    }
}

/// Whether the encoder takes values of the type.
pub(super) fn takes(sql_type: &str) -> bool {
    const TYPES: [&str; 11] = [
        "uuid",
        "text",
        "json",
        "jsonb",
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "timestamptz",
    ];
    TYPES.contains(&sql_type)
}

/// The value of a boolean's text in PostgreSQL's output format.
fn boolean(text: &str) -> Option<u8> {
    match text {
        "t" => Some(1),
        "f" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping;
    use crate::model::change::Table;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn stage(metadata: Option<&str>, created: &str) -> TrafficRow {
        let text = |text: &str| Some(text.into());
        TrafficRow {
            id: ID.parse().unwrap(),
            values: vec![text(ID), text("s"), None, metadata.map(Into::into), text(created)],
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_row_is_its_fields_each_behind_its_length() {
        let mut rows = Encoder::new(mapping::known_targets(Table::LeadJourney), None);
        assert!(rows.row(&stage(Some("{}"), "2000-01-01 00:00:01.5+00"), Timestamp(3)));
        let id = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let mut expected = HEADER.to_vec();
        expected.extend([0, 7, 0, 0, 0, 16]);
        expected.extend(id);
        expected.extend([0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 16]);
        expected.extend(id);
        expected.extend(b"\0\0\0\x01s\xff\xff\xff\xff\0\0\0\x03\x01{}\0\0\0\x08");
        expected.extend(1_500_000_i64.to_be_bytes());
        expected.extend([0xff, 0xff]);
        assert_eq!(rows.finish(), expected);
    }

    #[test]
    fn a_long_text_goes_in_pieces_of_itself_and_the_bytes_are_the_same() {
        let long = ByteString::from(format!("{{\"a\": \"{}\"}}", "x".repeat(2 * PIECE)));
        let mut row = stage(None, "2000-01-01 00:00:00+00");
        row.values[3] = Some(long.clone());
        let mut rows = Encoder::new(mapping::known_targets(Table::LeadJourney), None);
        assert!(rows.row(&row, Timestamp(3)));
        let mut pieces: Vec<Bytes> = std::iter::from_fn(|| rows.piece()).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(pieces[1].as_ptr(), long.as_bytes().as_ptr(), "a slice, not a copy");
        pieces.push(rows.finish());
        let sent = pieces.concat();
        let length = u32::try_from(long.len() + 1).unwrap();
        let field = [&length.to_be_bytes()[..], &[JSONB_VERSION], long.as_bytes()].concat();
        assert!(sent.windows(field.len()).any(|window| window == field));
        assert_eq!(sent.len(), HEADER.len() + 2 + 20 + 12 + 20 + 5 + 4 + field.len() + 12 + 2);
    }

    #[test]
    fn what_is_not_written_as_postgresql_writes_it_gives_no_row() {
        for created in ["infinity", "0044-03-15 12:00:00+00 BC", "yesterday", ""] {
            let mut rows = Encoder::new(mapping::known_targets(Table::LeadJourney), None);
            assert!(!rows.row(&stage(None, created), Timestamp(0)), "{created}");
        }
        assert_eq!((boolean("t"), boolean("f"), boolean("true")), (Some(1), Some(0), None));
    }

    #[test]
    fn every_type_of_the_mapping_can_be_encoded() {
        let mut rows = Encoder::new(&[], None);
        for table in Table::ALL {
            for target in mapping::known_targets(table) {
                let examples = ["x", "{}", "t", "7", ID, "2025-10-14 04:41:14.337389+00"];
                let taken = examples.iter().any(|text| rows.value(&target.sql_type, &(*text).into()));
                assert!(taken, "{}: {}", target.name, target.sql_type);
            }
        }
    }
}
