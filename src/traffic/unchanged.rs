//! Unchanged TOAST values: `pgoutput` leaves out a large value that an update did not change.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::partial_update::lacks_only_metadata;
use super::statements;
use super::writer::{Supplied, Writer};
use crate::batch::{Segment, Write};
use crate::error::Result;
use crate::model::change::{Datum, Row, Table};
use crate::postgres::step::during;

/// How to treat a lead whose only unchanged TOAST value is `metadata`, and the rows read from Landing.
#[derive(Clone, Copy)]
pub(super) enum UnchangedToast<'s> {
    /// Write a partial update: `metadata` on Traffic stays.
    MayStay(&'s Supplied),
    /// Fill in `metadata`, because the caller needs the whole row.
    IsNeeded(&'s Supplied),
}

/// Result of filling in a segment's unchanged TOAST values.
pub(super) enum Resolved {
    /// Every row is whole, or may be written as a partial update.
    Whole,
    /// Keys of rows missing on Traffic: read the rows from Landing.
    Missing(Vec<(Table, Uuid)>),
    /// The values together would take too much memory: bisect.
    TooLarge,
}

/// Bytes read back at a time from Traffic and quarantine. A single row is read back whatever its size.
const RESTORED_BYTES: u64 = 4 << 20;

/// Fills in the unchanged TOAST values of a segment from quarantine, else from Traffic, else with the
/// whole row from Landing. With [`UnchangedToast::MayStay`], a lead without `metadata` may stay as a
/// partial update (see `partial_update`).
///
/// Drops a row gone from Landing too, because the row's delete follows in the stream (guarantees 3.2).
pub(super) async fn resolve(
    writer: &Writer,
    segment: &mut Segment<'_>,
    toast: UnchangedToast<'_>,
) -> Result<Resolved> {
    let mut missing = HashSet::new();
    let (supplied, stays) = match toast {
        UnchangedToast::MayStay(supplied) => (supplied, true),
        UnchangedToast::IsNeeded(supplied) => (supplied, false),
    };
    let may_stay = |write: &Write<'_>| stays && lacks_only_metadata(&write.row);
    for writes in [&mut segment.leads, &mut segment.children] {
        let mut by_table: HashMap<Table, (Vec<Uuid>, Vec<Uuid>)> = HashMap::new();
        for write in writes.iter().filter(|write| write.row.has_unchanged()) {
            let (stay, fill) = by_table.entry(write.row.table).or_default();
            if may_stay(write) { stay } else { fill }.push(write.row.id);
        }
        for (table, (stay, ids)) in by_table {
            if weight(writer, table, (&stay, &ids)).await? > RESTORED_BYTES {
                return Ok(Resolved::TooLarge);
            }
            let mut images = images(writer, table, &ids).await?;
            if writer.may_have_quarantined && !stay.is_empty() {
                images.extend(writer.quarantine.images(&writer.session, table, &stay).await?);
            }
            for write in writes.iter_mut().filter(|write| write.row.table == table) {
                let key = (table, write.row.id);
                let known = images.contains_key(&write.row.id) || supplied.contains_key(&key);
                let image = images.get(&write.row.id).and_then(Option::as_ref);
                if (known || !may_stay(write)) && !fill(write, image, supplied) {
                    missing.insert(key);
                }
            }
        }
        writes.retain(|write| {
            !write.row.has_unchanged()
                || missing.contains(&(write.row.table, write.row.id))
                || (may_stay(write) && !supplied.contains_key(&(write.row.table, write.row.id)))
        });
    }
    Ok(match missing.is_empty() {
        true => Resolved::Whole,
        false => Resolved::Missing(missing.into_iter().collect()),
    })
}

/// Bytes to be read back: Traffic's values of the rows `fill`, and the quarantined images of the rows
/// `stay` and `fill`. Not measured for a single row.
async fn weight(writer: &Writer, table: Table, (stay, fill): (&[Uuid], &[Uuid])) -> Result<u64> {
    let mut bytes = 0;
    if fill.len() > 1 {
        let step = during(&writer.session, format!("weighing rows of {}", table.traffic_name()));
        let row =
            step.row(&statements::weigh(&writer.names, writer.catalog.mapping(table)), &[&fill]).await?;
        bytes += row.get::<_, i64>(0).unsigned_abs();
    }
    if writer.may_have_quarantined && stay.len() + fill.len() > 1 {
        bytes += writer.quarantine.weight(&writer.session, table, &[stay, fill].concat()).await?;
    }
    Ok(bytes)
}

/// Values of the rows on the Traffic side: the quarantined image, else the row on Traffic. `None` for a
/// quarantined row too large to have an image, because Traffic's own row is older.
async fn images(writer: &Writer, table: Table, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Row>>> {
    let mut images = HashMap::new();
    if ids.is_empty() {
        return Ok(images);
    }
    let step = format!("reading unchanged values from {}", table.traffic_name());
    let rows = during(&writer.session, step).rows(writer.read(table).await?, &[&ids]).await?;
    let mapping = writer.catalog.mapping(table);
    for found in &rows {
        let id: Uuid = found.get(0);
        let mut values: Box<[Datum]> = vec![Datum::Unchanged; mapping.columns().len()].into();
        for (answer, (column, _)) in mapping.verbatim().enumerate() {
            if let Some(value) = values.get_mut(column) {
                *value = found.get::<_, Option<String>>(answer + 1).map_or(Datum::Null, Datum::text);
            }
        }
        images.insert(id, Some(Row { table, id, values }));
    }
    if writer.may_have_quarantined {
        images.extend(writer.quarantine.images(&writer.session, table, ids).await?);
    }
    Ok(images)
}

/// Completes a row with Traffic's values, else with Landing's row. Returns false when only Landing can supply
/// the values and has not been asked yet.
fn fill(write: &mut Write<'_>, image: Option<&Row>, supplied: &Supplied) -> bool {
    if !write.row.has_unchanged() {
        return true;
    }
    let row = write.row.to_mut();
    if let Some(image) = image {
        row.fill_unchanged_from(image);
    }
    if !row.has_unchanged() {
        return true;
    }
    match supplied.get(&(row.table, row.id)) {
        // Landing's row may be newer than this change. Later changes in the stream lead to the same row.
        Some(Some(current)) => write.row = Cow::Owned(current.clone()),
        Some(None) => {}
        None => return false,
    }
    true
}
