//! Partial updates of leads: `pgoutput` did not send an unchanged TOASTed `metadata`, so `metadata` stays on
//! Traffic, with the values derived from `metadata` alone. Reading `metadata` back would cost memory and time
//! by its size.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row as Answer;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::unchanged::{Resolved, UnchangedToast, resolve};
use super::upserts::{self, Columns, TableWrites};
use super::writer::{Supplied, Writer, writing};
use crate::batch::{Segment, Write};
use crate::error::Result;
use crate::mapping::{HeldMetadata, TrafficRow};
use crate::model::change::{Datum, Row, Table, lead};
use crate::postgres::step::during;
use crate::quarantine::notes::Scope;

const TABLE: Table = Table::LandingLeads;

/// Whether `metadata` is the only value not sent.
pub(super) fn lacks_only_metadata(row: &Row) -> bool {
    let unsent = |(column, value): (usize, &Datum)| *value == Datum::Unchanged && column != lead::METADATA;
    row.table == TABLE
        && row.values.get(lead::METADATA) == Some(&Datum::Unchanged)
        && !row.values.iter().enumerate().any(unsent)
}

/// The members of Traffic's `metadata` that the rules read, of leads with columns that must be computed again.
type Known = HashMap<Uuid, Option<String>>;

/// Writes partial updates of leads, in primary-key order. Returns the keys of leads missing on Traffic,
/// to be read from Landing.
pub(super) async fn write(
    writer: &mut Writer,
    mut writes: Vec<Write<'_>>,
    supplied: &Supplied,
) -> Result<Vec<(Table, Uuid)>> {
    let mut refused = Vec::new();
    let mut known = None;
    // The first round writes all rows. The second round writes the rows with columns that depend on Traffic's
    // `metadata` and on a column that changes.
    while !writes.is_empty() {
        let (mut mapped, mut rejected) = map(writer, writes, known.as_ref());
        // A cut value may fit by now, because its column may have become wider. A refused row needs no
        // second look here, because `upserts` maps the row again.
        let cut = mapped.iter().any(|(_, row)| row.is_cut());
        if cut && writer.renew_limits(TABLE).await? {
            let again = mapped.into_iter().map(|(write, _)| write).collect();
            let (fit, unfit) = map(writer, again, known.as_ref());
            mapped = fit;
            rejected.extend(unfit);
        }
        refused.extend(rejected);
        let (left, skipped) = write_known(writer, &mapped).await?;
        // `upserts` finds out about the rows left out by a trigger, and quarantines them.
        refused.extend(
            mapped.extract_if(.., |(write, _)| skipped.contains(&write.row.id)).map(|(write, _)| write),
        );
        let absent = |(id, _): (&Uuid, &Option<Option<String>>)| (TABLE, *id);
        let missing: Vec<_> = left.iter().filter(|(_, known)| known.is_none()).map(absent).collect();
        // In the second round the metadata of every row is known. A row still not written was deleted
        // between the rounds.
        if !missing.is_empty() || (known.is_some() && !left.is_empty()) {
            return Ok(left.iter().map(absent).collect());
        }
        let found: Known = left.into_iter().filter_map(|(id, known)| Some((id, known?))).collect();
        let (again, done): (Vec<_>, Vec<_>) =
            mapped.into_iter().partition(|(write, _)| found.contains_key(&write.row.id));
        record(writer, &done, known.is_some()).await?;
        writes = again.into_iter().map(|(write, _)| write).collect();
        known = Some(found);
    }
    write_refused(writer, refused, supplied).await
}

/// Maps rows. Returns the mapped rows, and the rows refused by the mapping.
fn map<'c>(
    writer: &Writer,
    writes: Vec<Write<'c>>,
    known: Option<&Known>,
) -> (Vec<(Write<'c>, TrafficRow)>, Vec<Write<'c>>) {
    let (mapping, limits) = (writer.catalog.mapping(TABLE), writer.catalog.limits(TABLE));
    let (mut mapped, mut refused) = (Vec::with_capacity(writes.len()), Vec::new());
    for write in writes {
        let held = match known.and_then(|known| known.get(&write.row.id)) {
            Some(members) => HeldMetadata::Known(members.as_deref()),
            None => HeldMetadata::Unknown,
        };
        match mapping.map_partial_update(&write.row, limits, held) {
            Ok(row) => mapped.push((write, row)),
            Err(_) => refused.push(write),
        }
    }
    (mapped, refused)
}

/// Writes the rows, except for leads missing on Traffic and leads with columns that must be computed again.
/// Returns the rows not written, and the ids of the rows left out by a trigger. A row not written has
/// `None` when Traffic does not have the lead, else the members of Traffic's `metadata` that the rules read.
async fn write_known(
    writer: &Writer,
    rows: &[(Write<'_>, TrafficRow)],
) -> Result<(HashMap<Uuid, Option<Option<String>>>, HashSet<Uuid>)> {
    let width = writer.catalog.mapping(TABLE).partial_update_targets().count();
    let columns = Columns::new(width, rows.iter().map(|(write, row)| (row, write.origin.commit_time)));
    let parameters: Vec<&(dyn ToSql + Sync)> = columns.parameters();
    let left = during(&writer.session, writing(TABLE))
        .write_rows(writer.partial_update().await?, &parameters)
        .await?;
    let (skipped, left): (Vec<_>, Vec<_>) = left.iter().partition(|row| row.get(3));
    let members = |row: &&Answer| (row.get(0), row.get::<_, bool>(1).then(|| row.get(2)));
    Ok((left.iter().map(members).collect(), skipped.iter().map(|row| row.get(0)).collect()))
}

/// Updates the notes of the written columns. Notes about `metadata` alone still hold, because `metadata`
/// has not changed; so do the notes of columns that come partly from `metadata`, unless these were `computed`.
async fn record(writer: &mut Writer, done: &[(Write<'_>, TrafficRow)], computed: bool) -> Result<()> {
    let ids: Vec<Uuid> = done.iter().map(|(write, _)| write.row.id).collect();
    if writer.may_have_notes() {
        let mapping = Arc::clone(writer.catalog.mapping(TABLE));
        let columns: Vec<&str> = mapping
            .partial_update_targets()
            .filter(|target| computed || !target.is_partly_of_metadata())
            .map(|target| &*target.name)
            .collect();
        let still = done.iter().map(|(_, row)| row);
        let scope = Scope { table: TABLE, ids: &ids, columns: Some(&columns), are_deleted: false };
        writer.notes.forget(&writer.session, scope, still).await?;
    }
    let noted = done.iter().map(|(write, row)| (row, write.origin));
    writer.has_noted |= writer.notes.write(&writer.session, TABLE, noted).await?;
    Ok(())
}

/// Fills in the `metadata` of refused rows and writes the whole rows. The mapping refuses a bad row
/// again, and quarantine gets the whole row.
async fn write_refused(
    writer: &mut Writer,
    refused: Vec<Write<'_>>,
    supplied: &Supplied,
) -> Result<Vec<(Table, Uuid)>> {
    let mut missing = Vec::new();
    // One row at a time, because the values to be filled in may be large.
    for write in refused {
        let mut alone = Segment { leads: vec![write], ..Segment::default() };
        match resolve(writer, &mut alone, UnchangedToast::IsNeeded(supplied)).await? {
            Resolved::Missing(keys) => missing.extend(keys),
            // One row is never too large: there is nothing to split.
            Resolved::Whole | Resolved::TooLarge => {
                let rows = TableWrites { table: TABLE, writes: &alone.leads, present: &[] };
                upserts::write(writer, rows).await?;
            }
        }
    }
    Ok(missing)
}
