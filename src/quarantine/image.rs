//! A Landing row in quarantine: JSON with each column as PostgreSQL's text, so nothing is rounded and the row
//! can be applied again exactly; pure.

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::TableMapping;
use crate::model::change::{Column, Datum, Row};

/// The longest image in quarantine, in bytes of values: a jsonb takes 2^28 - 1 bytes in all. Of a longer row
/// quarantine holds the key alone: the row cannot be retried, and the next change of the row reads the whole
/// row from Landing.
const LARGEST: usize = (1 << 28) - (1 << 16);

/// A row's columns and their texts, of which PostgreSQL's `jsonb_object` makes the image. The texts are borrowed,
/// because a row may be very large.
pub struct Image<'r> {
    pub columns: Vec<Cow<'static, str>>,
    pub texts: Vec<Option<&'r str>>,
}

/// The whole row; `None` for a row too large for quarantine. A value neither sent nor readable is null.
pub fn of<'r>(row: &'r Row, mapping: &TableMapping) -> Option<Image<'r>> {
    let size: usize = row.values.iter().filter_map(Datum::as_str).map(str::len).sum();
    if size > LARGEST {
        return None;
    }
    let value =
        |(at, column): (usize, &Column)| (column.name.clone(), row.values.get(at).and_then(Datum::as_str));
    let (columns, texts) = mapping.present().map(value).unzip();
    Some(Image { columns, texts })
}

/// The row of an image.
///
/// # Errors
/// Refused when [`of`] did not write the image.
pub fn row(mapping: &TableMapping, id: Uuid, json: &str) -> Result<Row> {
    parse(mapping, id, json).ok_or_else(|| foreign(mapping, id))
}

/// The row of an image from the image's members: column and text.
pub fn row_of(mapping: &TableMapping, id: Uuid, members: Vec<Box<[Datum]>>) -> Row {
    let member = |member: Box<[Datum]>| {
        let [column, text] = <[Datum; 2]>::try_from(member.into_vec()).ok()?;
        Some((column.as_str()?.to_owned(), text))
    };
    let mut members: HashMap<String, Datum> = members.into_iter().filter_map(member).collect();
    let datum = |column: &Column| members.remove(&*column.name).unwrap_or(Datum::Null);
    let values = mapping.columns().iter().map(datum).collect();
    Row { table: mapping.table, id, values }
}

/// The error for an image that [`of`] did not write.
pub fn foreign(mapping: &TableMapping, id: Uuid) -> Error {
    Error::refused(format!(
        "the quarantined row {id} of {} is not one that leadbridge wrote",
        mapping.table.label()
    ))
    .remedy(message!("quarantine-remedy-image"))
}

fn parse(mapping: &TableMapping, id: Uuid, json: &str) -> Option<Row> {
    let mut members: HashMap<String, Option<String>> = serde_json::from_str(json).ok()?;
    let mut datum = |name: &str| members.remove(name).flatten().map_or(Datum::Null, Datum::text);
    let values = mapping.columns().iter().map(|column| datum(&column.name)).collect();
    Some(Row { table: mapping.table, id, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;
    use crate::model::change::Table;

    #[test]
    fn a_row_comes_back_from_quarantine_as_it_went_in() {
        let id = Uuid::from_u128(3);
        let table = Table::LeadJourney;
        let mut values = vec![Datum::Null; table.columns().len()];
        values[0] = Datum::text(id.to_string());
        values[2] = Datum::text("null");
        values[4] = Datum::text(r#"{"n": 1.50, "t": "a\"b"}"#);
        let row = Row { table, id, values: values.into() };
        let mapping = Mapping::whole();
        let mapping = mapping.of(table);
        let Image { columns, texts } = of(&row, mapping).unwrap();
        let members: HashMap<_, _> = columns.iter().zip(texts).collect();
        let json = serde_json::to_string(&members).unwrap();
        assert_eq!(super::row(mapping, id, &json).unwrap(), row);
    }

    #[test]
    fn json_of_another_shape_is_no_row() {
        let (mapping, id) = (Mapping::whole(), Uuid::nil());
        for json in ["[1]", r#"{"stage": 4}"#] {
            assert!(row(mapping.of(Table::LeadJourney), id, json).is_err());
        }
    }

    #[test]
    fn a_row_that_no_jsonb_could_hold_has_no_image() {
        let of_size = |size: usize| {
            let values = [Datum::text("x".repeat(size)), Datum::Null, Datum::Unchanged].into();
            let row = Row { table: Table::LeadJourney, id: Uuid::nil(), values };
            of(&row, Mapping::whole().of(Table::LeadJourney)).is_some()
        };
        assert!(of_size(10));
        assert!(!of_size(LARGEST + 1));
    }
}
