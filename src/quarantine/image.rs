//! A Landing row in quarantine: JSON with each column as PostgreSQL's text, so nothing is rounded and the row
//! can be applied again exactly; pure.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::model::change::{Datum, Row, Table};

/// The whole row as JSON. A value neither sent nor readable is null.
pub fn to_json(row: &Row) -> Value {
    let text = |datum: &Datum| datum.as_str().map_or(Value::Null, |text| Value::String(text.to_owned()));
    let columns = row.table.columns().iter().map(|column| column.name.to_owned());
    Value::Object(columns.zip(row.values.iter().map(text)).collect::<Map<_, _>>())
}

/// The row of a JSON document; `None` when [`to_json`] did not write the document.
pub fn from_json(table: Table, id: Uuid, json: &Value) -> Option<Row> {
    let object = json.as_object()?;
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
        assert_eq!(from_json(table, id, &to_json(&row)), Some(row));
    }

    #[test]
    fn json_of_another_shape_is_no_row() {
        let id = Uuid::nil();
        assert_eq!(from_json(Table::LeadJourney, id, &serde_json::json!([1])), None);
        assert_eq!(from_json(Table::LeadJourney, id, &serde_json::json!({"stage": 4})), None);
    }
}
