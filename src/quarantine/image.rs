//! A Landing row in quarantine: JSON with each column as PostgreSQL's text, so nothing is rounded and the row
//! can be applied again exactly; pure.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::change::{Datum, Row, Table};

/// The longest image in quarantine, in bytes of values: a jsonb takes 2^28 - 1 bytes in all. Of a longer row
/// quarantine holds the key alone: the row cannot be retried, and the next change of the row reads the whole
/// row from Landing.
const LARGEST: usize = (1 << 28) - (1 << 16);

/// The whole row as JSON; `None` for a row too large for quarantine. A value neither sent nor readable is
/// null.
pub fn of(row: &Row) -> Option<String> {
    let size: usize = row.values.iter().filter_map(Datum::as_str).map(str::len).sum();
    let text = |datum: &Datum| datum.as_str().map_or(Value::Null, |text| Value::String(text.to_owned()));
    let columns = row.table.columns().iter().map(|column| column.name.to_owned());
    (size <= LARGEST)
        .then(|| Value::Object(columns.zip(row.values.iter().map(text)).collect::<Map<_, _>>()).to_string())
}

/// The row of an image.
///
/// # Errors
/// Refused when [`of`] did not write the image.
pub fn row(table: Table, id: Uuid, json: &str) -> Result<Row> {
    parse(table, id, json).ok_or_else(|| {
        Error::refused(format!(
            "the quarantined row {id} of {} is not one that leadbridge wrote",
            table.label()
        ))
        .remedy("look at it with `leadbridge quarantine show`, then discard it and run `leadbridge resync`")
    })
}

fn parse(table: Table, id: Uuid, json: &str) -> Option<Row> {
    let Value::Object(object) = serde_json::from_str(json).ok()? else { return None };
    let datum = |name: &str| match object.get(name) {
        Some(Value::String(text)) => Some(Datum::text(text.as_str())),
        Some(Value::Null) | None => Some(Datum::Null),
        Some(_) => None,
    };
    let values = table.columns().iter().map(|column| datum(column.name)).collect::<Option<Box<[_]>>>()?;
    Some(Row { table, id, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_from_quarantine_as_it_went_in() {
        let id = Uuid::from_u128(3);
        let table = Table::LeadJourney;
        let mut values = vec![Datum::Null; table.columns().len()];
        values[0] = Datum::text(id.to_string());
        values[2] = Datum::text("null");
        values[4] = Datum::text(r#"{"n": 1.50, "t": "a\"b"}"#);
        let row = Row { table, id, values: values.into() };
        assert_eq!(super::row(table, id, &of(&row).unwrap()).unwrap(), row);
    }

    #[test]
    fn json_of_another_shape_is_no_row() {
        let id = Uuid::nil();
        assert!(row(Table::LeadJourney, id, "[1]").is_err());
        assert!(row(Table::LeadJourney, id, r#"{"stage": 4}"#).is_err());
    }

    #[test]
    fn a_row_that_no_jsonb_could_hold_has_no_image() {
        let of_size = |size: usize| {
            let values = [Datum::text("x".repeat(size)), Datum::Null, Datum::Unchanged].into();
            of(&Row { table: Table::LeadJourney, id: Uuid::nil(), values })
        };
        assert!(of_size(10).is_some());
        assert!(of_size(LARGEST + 1).is_none());
    }
}
