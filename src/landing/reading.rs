//! Reads whole rows of Landing with SQL, as the same text that the stream sends.

use std::collections::HashMap;

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::capture::layout::Layout;
use crate::error::{Error, Result};
use crate::model::budget;
use crate::model::change::{Column, ColumnType, Datum, Row};
use crate::model::names::Names;
use crate::postgres::output::TextForm;

/// `SELECT` of every column that the mapping knows, as text, in the order of a [`Row`].
pub fn select(names: &Names, layout: &Layout) -> String {
    format!("SELECT {} FROM {}", columns(layout), names.landing_table(layout.table()))
}

/// The columns of [`select`].
pub fn columns(layout: &Layout) -> String {
    let columns = layout.mapping.columns().iter().zip(layout.type_oids());
    let text = |(column, type_oid): (&Column, Option<u32>)| match type_oid {
        Some(type_oid) => TextForm::of_oid(type_oid).of(&column.ident()),
        None => "NULL::text".to_owned(),
    };
    columns.map(text).collect::<Vec<_>>().join(", ")
}

/// A row from the texts that [`select`] asks for.
pub fn row_of<'t>(layout: &Layout, texts: impl Iterator<Item = Option<&'t str>>) -> Result<Row> {
    row(layout, texts.map(|text| text.map_or(Datum::Null, Datum::text)).collect())
}

/// A row from the values of the columns of [`select`].
pub fn row(layout: &Layout, values: Box<[Datum]>) -> Result<Row> {
    let id = values.first().and_then(Datum::as_str).and_then(|text| text.parse().ok());
    let id = id.ok_or_else(|| Error::internal(format!("{} on Landing: a row without id", layout.name)))?;
    Ok(Row { table: layout.table(), id, values })
}

/// The current rows with the given ids; an id without a row is left out.
pub async fn by_id(
    client: &Client,
    names: &Names,
    layout: &Layout,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Row>> {
    let mut rows = HashMap::new();
    let take = |row: Row| _ = rows.insert(row.id, row);
    each_by_id(client, names, layout, ids, take).await?;
    Ok(rows)
}

/// The current rows with the given ids, passed on one after the other as the rows arrive, so that only a few
/// rows are in memory when the caller keeps none.
pub async fn each_by_id(
    client: &Client,
    names: &Names,
    layout: &Layout,
    ids: &[Uuid],
    mut take: impl FnMut(Row),
) -> Result<()> {
    let sql = format!("{} WHERE id = ANY ($1)", select(names, layout));
    let step = format!("reading rows of {} on Landing", layout.name);
    let failed = |error| Error::database(&step, &error);
    let found = client.query_raw(&sql, [ids]).await.map_err(failed)?;
    pin_mut!(found);
    while let Some(found) = found.try_next().await.map_err(failed)? {
        let texts: std::result::Result<Vec<_>, _> = (0..found.len()).map(|at| found.try_get(at)).collect();
        take(row_of(layout, texts.map_err(failed)?.into_iter())?);
    }
    Ok(())
}

/// The approximate size in bytes of each existing row, as [`by_id`] would hold the row.
pub async fn weights(
    client: &Client,
    names: &Names,
    layout: &Layout,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, u64>> {
    let heavy = |kind| matches!(kind, ColumnType::Text | ColumnType::Jsonb | ColumnType::Other);
    let columns = layout.mapping.present().filter(|(_, column)| heavy(column.kind));
    let sql = format!(
        "SELECT id, {} FROM {} WHERE id = ANY ($1)",
        budget::weight(columns.map(|(_, column)| column.ident())),
        names.landing_table(layout.table())
    );
    let rows = client.query(&sql, &[&ids]).await;
    let step = || format!("weighing rows of {} on Landing", layout.name);
    let rows = rows.map_err(|error| Error::database(step(), &error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect())
}
