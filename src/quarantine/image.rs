//! A Landing row in quarantine: JSON with each column as PostgreSQL's text, so nothing is rounded and the row
//! can be applied again exactly; pure.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::mapping::TableMapping;
use crate::model::change::{Column, Datum, Row};

/// The longest image in quarantine, in bytes of values: a jsonb takes 2^28 - 1 bytes in all. Of a longer row
/// quarantine holds the key alone: the row cannot be retried, and the next change of the row reads the whole
/// row from Landing.
const LARGEST: usize = (1 << 28) - (1 << 16);

/// The whole row as JSON; `None` for a row too large for quarantine. A value neither sent nor readable is
/// null.
pub fn of(row: &Row, mapping: &TableMapping) -> Option<String> {
    let size: usize = row.values.iter().filter_map(Datum::as_str).map(str::len).sum();
    let text = |datum: &Datum| datum.as_str().map_or(Value::Null, |text| Value::String(text.to_owned()));
    let value = |(at, column): (usize, &Column)| {
        (column.name.to_string(), row.values.get(at).map_or(Value::Null, text))
    };
    (size <= LARGEST).then(|| Value::Object(mapping.present().map(value).collect::<Map<_, _>>()).to_string())
}

/// The row of an image.
///
/// # Errors
/// Refused when [`of`] did not write the image.
pub fn row(mapping: &TableMapping, id: Uuid, json: &str) -> Result<Row> {
    parse(mapping, id, json).ok_or_else(|| {
        Error::refused(format!(
            "the quarantined row {id} of {} is not one that leadbridge wrote",
            mapping.table.label()
        ))
        .remedy("look at it with `leadbridge quarantine show`, then discard it and run `leadbridge resync`")
    })
}

fn parse(mapping: &TableMapping, id: Uuid, json: &str) -> Option<Row> {
    let Value::Object(object) = serde_json::from_str(json).ok()? else { return None };
    let datum = |name: &str| match object.get(name) {
        Some(Value::String(text)) => Some(Datum::text(text.as_str())),
        Some(Value::Null) | None => Some(Datum::Null),
        Some(_) => None,
    };
    let values = mapping.columns().iter().map(|column| datum(&column.name)).collect::<Option<Box<[_]>>>()?;
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
        assert_eq!(super::row(mapping, id, &of(&row, mapping).unwrap()).unwrap(), row);
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
            of(&row, Mapping::whole().of(Table::LeadJourney))
        };
        assert!(of_size(10).is_some());
        assert!(of_size(LARGEST + 1).is_none());
    }
}
