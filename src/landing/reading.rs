//! Reading whole rows of Landing with SQL, as the same text that the stream sends.

use std::collections::HashMap;

use tokio_postgres::Client;
use uuid::Uuid;

use super::layout::Layout;
use crate::change::{ColumnType, Datum, Row};
use crate::error::{Error, Result};
use crate::names::Names;

/// `SELECT` of every column the mapping knows, as text, in the order of a [`Row`].
pub fn select(names: &Names, layout: &Layout) -> String {
    let columns: Vec<String> = layout
        .table
        .columns()
        .iter()
        .enumerate()
        .map(|(at, column)| match column.kind {
            _ if !layout.has(at) => "NULL::text".to_owned(),
            // The stream sends the type's output, `t`; a cast would give `true`.
            ColumnType::Boolean => {
                format!("CASE {name} WHEN true THEN 't' WHEN false THEN 'f' END", name = column.name)
            }
            _ => format!("{}::text", column.name),
        })
        .collect();
    format!("SELECT {} FROM {}", columns.join(", "), names.landing_table(layout.table))
}

/// A row from the texts that [`select`] asks for.
pub fn row<'t>(layout: &Layout, texts: impl Iterator<Item = Option<&'t str>>) -> Result<Row> {
    let values: Box<[Datum]> = texts.map(|text| text.map_or(Datum::Null, Datum::text)).collect();
    let id = values.first().and_then(Datum::as_str).and_then(|text| text.parse().ok());
    let id = id.ok_or_else(|| {
        Error::internal(format!("{} on Landing: a row without id", layout.table.landing_name()))
    })?;
    Ok(Row { table: layout.table, id, values })
}

/// The rows with these ids as they are now; an id without a row is left out.
pub async fn by_id(
    client: &Client,
    names: &Names,
    layout: &Layout,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Row>> {
    let sql = format!("{} WHERE id = ANY ($1)", select(names, layout));
    let step = format!("reading rows of {} on Landing", layout.table.landing_name());
    let found = client.query(&sql, &[&ids]).await.map_err(|error| Error::database(step, &error))?;
    found
        .iter()
        .map(|found| {
            let row = row(layout, (0..found.len()).map(|at| found.get::<_, Option<&str>>(at)))?;
            Ok((row.id, row))
        })
        .collect()
}
