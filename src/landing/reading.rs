//! Reads whole rows of Landing with SQL, as the same text that the stream sends.

use std::borrow::Cow;
use std::collections::HashMap;

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::capture::layout::Layout;
use crate::error::{Error, Result};
use crate::model::budget;
use crate::model::change::{Column, ColumnType, Datum, Row};
use crate::model::names::Names;
use crate::postgres::copied::copied;
use crate::postgres::output::TextForm;

/// `SELECT` of every column that the mapping knows, as text, in the order of a [`Row`].
pub fn select(names: &Names, layout: &Layout) -> String {
    format!("SELECT {} FROM {}", columns(layout), names.landing_table(layout.table()))
}

/// The columns of [`select`].
pub fn columns(layout: &Layout) -> String {
    texts(layout, |_, text| text)
}

/// The columns of [`select`], where a value that makes its row a large row is null ([`is_large`]).
pub fn columns_unless_large(layout: &Layout) -> String {
    texts(layout, |column, text| match is_heavy(column) {
        true => budget::unless_large(&column.ident(), &text),
        false => text,
    })
}

/// SQL condition on a row: the row is a large row.
pub fn is_large(layout: &Layout) -> String {
    budget::is_large(heavy(layout))
}

/// SQL for the approximate size of a row in bytes, as [`by_id`] would hold the row.
pub fn weight(layout: &Layout) -> String {
    budget::weight(heavy(layout))
}

/// The columns of variable size that this database has.
fn heavy(layout: &Layout) -> impl Iterator<Item = Cow<'static, str>> {
    let columns = layout.mapping.present().map(|(_, column)| column);
    columns.filter(|column| is_heavy(column)).map(Column::ident)
}

fn is_heavy(column: &Column) -> bool {
    matches!(column.kind, ColumnType::Text | ColumnType::Jsonb | ColumnType::Other)
}

fn texts(layout: &Layout, form: impl Fn(&Column, String) -> String) -> String {
    let columns = layout.mapping.columns().iter().zip(layout.type_oids());
    let text = |(column, type_oid): (&Column, Option<u32>)| match type_oid {
        Some(type_oid) => form(column, TextForm::of_oid(type_oid).of(&column.ident())),
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
    // A row that is read alone may be as large as a row can be.
    if let [id] = ids {
        let query = format!("{} WHERE id = '{id}'", select(names, layout));
        let step = format!("reading a row of {} on Landing", layout.name);
        let found = copied(client, &query, layout.mapping.columns().len(), &step).await?;
        return found.into_iter().map(|values| row(layout, values).map(|row| (row.id, row))).collect();
    }
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
    let sql = format!(
        "SELECT id, {} FROM {} WHERE id = ANY ($1)",
        weight(layout),
        names.landing_table(layout.table())
    );
    let rows = client.query(&sql, &[&ids]).await;
    let step = || format!("weighing rows of {} on Landing", layout.name);
    let rows = rows.map_err(|error| Error::database(step(), &error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect())
}
