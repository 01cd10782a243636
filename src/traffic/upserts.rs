//! Writing whole rows: new rows by COPY where COPY is worthwhile, all other rows by upserts.

use std::collections::HashSet;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::writer::{Arrived, Writer, writing};
use super::{copying, keys, own_values};
use crate::batch::Write;
use crate::error::{Error, Result};
use crate::mapping::{Rejection, TableMapping, TrafficRow};
use crate::model::change::{Origin, Table};
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::quarantine::RefusalCause;

/// Rows of one table to be written, in primary-key order.
#[derive(Clone, Copy)]
pub(super) struct TableWrites<'w, 'c> {
    pub(super) table: Table,
    pub(super) writes: &'w [Write<'c>],
    /// Ids of leads, in order: the leads are on Traffic, and no other session can delete the leads.
    pub(super) present: &'w [Uuid],
}

/// A row of Traffic, ready to be written.
pub(super) struct Mapped {
    pub(super) row: TrafficRow,
    pub(super) origin: Origin,
}

/// Result of an upsert. Every other row was equal already.
#[derive(Default)]
pub(super) struct Upserted {
    pub(super) written: u64,
    /// Rows left out because their lead is missing.
    pub(super) orphans: HashSet<Uuid>,
    /// Rows neither written nor equal, by the snapshot of the statement.
    pub(super) unexplained: HashSet<Uuid>,
}

impl Upserted {
    /// Whether Traffic holds every row now.
    pub(super) fn is_complete(&self) -> bool {
        self.orphans.is_empty() && self.unexplained.is_empty()
    }
}

/// Rows turned into columns, the parameters of a statement: one array for each column, all of the same length.
pub(super) struct Columns<'r> {
    ids: Vec<Uuid>,
    synced: Vec<Timestamp>,
    texts: Vec<Vec<Option<&'r str>>>,
}

impl<'r> Columns<'r> {
    /// `width` is the number of mapped columns.
    pub(super) fn new(width: usize, rows: impl Iterator<Item = (&'r TrafficRow, Timestamp)>) -> Self {
        let mut columns = Columns { ids: Vec::new(), synced: Vec::new(), texts: vec![Vec::new(); width] };
        for (row, synced) in rows {
            columns.ids.push(row.id);
            columns.synced.push(synced);
            for (column, value) in columns.texts.iter_mut().zip(&row.values) {
                column.push(value.as_deref());
            }
        }
        columns
    }

    /// In the order of the statements' parameters.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&self.ids, &self.synced];
        parameters.extend(self.texts.iter().map(|column| column as &(dyn ToSql + Sync)));
        parameters
    }
}

pub(super) fn columns_of<'m>(mapping: &TableMapping, rows: impl Iterator<Item = &'m Mapped>) -> Columns<'m> {
    let width = mapping.targets().len();
    Columns::new(width, rows.map(|mapped| (&mapped.row, mapped.origin.commit_time)))
}

/// Rows refused by the mapping, each with the reason.
pub(super) type Rejected<'w, 'c> = Vec<(&'w Write<'c>, Rejection)>;

/// Writes whole rows of one table, in primary-key order. Quarantines a row refused by the mapping, a row
/// whose lead is not on Traffic, and a row left out by a trigger. Returns the ids of written rows
/// that are on Traffic now and that no other session can delete, in order.
pub(super) async fn write(writer: &mut Writer, rows: TableWrites<'_, '_>) -> Result<Vec<Uuid>> {
    let TableWrites { table, writes, .. } = rows;
    let waiting = keys::take(writer, table, writes).await?;
    if !waiting.is_empty() {
        let others: Vec<Write<'_>> =
            writes.iter().filter(|write| !waiting.contains(&write.row.id)).cloned().collect();
        return Box::pin(write(writer, TableWrites { writes: &others, ..rows })).await;
    }
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let copied = match writer.copying.starts(rows) {
        true => Box::pin(copying::copy_new(writer, rows)).await?,
        false => None,
    };
    let by_copy = copied.is_some();
    let copied = copied.unwrap_or_default();
    let rest = || writes.iter().filter(|write| !(by_copy && write.new));
    let (mut mapped, mut rejected) = map_rows(writer, table, rest());
    // A value too long for the limits may fit by now, because a column may have become wider.
    if !all_fit(&mapped, &rejected) && writer.renew_limits(table).await? {
        (mapped, rejected) = map_rows(writer, table, rest());
    }
    let upserted = upsert(writer, table, &mapped).await?;
    let skipped = skipped(writer, (table, &mapped), &upserted.unexplained).await?;
    let mut orphans = upserted.orphans;
    mapped.retain(|mapped| !orphans.contains(&mapped.row.id) && !skipped.contains(&mapped.row.id));
    writer.counts.written += upserted.written + copied.ids.len() as u64;
    writer.counts.unchanged += (mapped.len() as u64).saturating_sub(upserted.written);
    let upserted = mapped.iter().map(|mapped| mapped.row.id);
    // A copied row has no old note, because the delete of an earlier row with the same key removed the
    // notes. The exception: the delete was quarantined, and somebody then deleted the row by hand. So
    // copied rows may have old notes only while quarantine may hold rows.
    let unnoted = writer.copying.is_new(table) || !writer.may_have_quarantined;
    let mut noted: Vec<Uuid> = upserted.clone().collect();
    noted.extend(copied.ids.iter().filter(|_| !unnoted));
    let ids: Vec<Uuid> = upserted.chain(copied.ids.iter().copied()).collect();
    let rows: Vec<&Mapped> = mapped.iter().chain(&copied.noted).collect();
    writer.record(Arrived { table, ids: &ids, noted: &noted, rows: &rows, are_deleted: false }).await?;
    rejected.extend(copied.rejected);
    for (write, rejection) in rejected {
        let cause = RefusalCause::new(rejection.sqlstate, rejection.message);
        writer.quarantine_write(write, &cause).await?;
    }
    orphans.extend(copied.orphans);
    let cause = RefusalCause::lead_is_missing(Side::Traffic);
    for write in writes.iter().filter(|write| orphans.contains(&write.row.id)) {
        writer.quarantine_write(write, &cause).await?;
    }
    let cause = RefusalCause::of(&Error::skipped(writing(table)));
    for write in writes.iter().filter(|write| skipped.contains(&write.row.id)) {
        writer.quarantine_write(write, &cause).await?;
    }
    Ok(if copied.all_there { copied.ids } else { Vec::new() })
}

/// Maps rows. Returns the mapped rows, and the rows refused by the mapping.
pub(super) fn map_rows<'w, 'c: 'w>(
    writer: &Writer,
    table: Table,
    writes: impl Iterator<Item = &'w Write<'c>>,
) -> (Vec<Mapped>, Rejected<'w, 'c>) {
    let (mapping, limits) = (writer.catalog.mapping(table), writer.catalog.limits(table));
    let (mut mapped, mut rejected) = (Vec::new(), Vec::new());
    for write in writes {
        match mapping.map(&write.row, limits) {
            Ok(row) => mapped.push(Mapped { row, origin: write.origin }),
            Err(rejection) => rejected.push((write, rejection)),
        }
    }
    (mapped, rejected)
}

/// Upserts rows, and returns the result for each row.
///
/// # Errors
/// Internal when Traffic's answer does not account for each row.
pub(super) async fn upsert(writer: &Writer, table: Table, rows: &[Mapped]) -> Result<Upserted> {
    if rows.is_empty() {
        return Ok(Upserted::default());
    }
    own_values::keep(writer, table, rows).await?;
    let columns = columns_of(writer.catalog.mapping(table), rows.iter());
    let step = during(&writer.session, writing(table)).of_table(table.traffic_name());
    let answer = step.write_row(writer.upsert(table)?, &columns.parameters()).await?;
    let count = |at| answer.get::<_, i64>(at).unsigned_abs();
    let ids = |at| answer.get::<_, Vec<Uuid>>(at).into_iter().collect::<HashSet<Uuid>>();
    let (written, unchanged) = (count(0), count(1));
    let upserted = Upserted { written, unexplained: ids(2), orphans: ids(3) };
    let left_out = (upserted.unexplained.len() + upserted.orphans.len()) as u64;
    match written + unchanged + left_out == rows.len() as u64 {
        true => Ok(upserted),
        false => Err(Error::internal(format!(
            "{} rows were sent, and Traffic answers for {written} written, {unchanged} unchanged and {left_out} \
             left out",
            rows.len()
        ))
        .context(writing(table))),
    }
}

/// The rows left out by a trigger: not written, and not held by Traffic as they should be.
async fn skipped(
    writer: &Writer,
    (table, rows): (Table, &[Mapped]),
    unexplained: &HashSet<Uuid>,
) -> Result<HashSet<Uuid>> {
    if unexplained.is_empty() {
        return Ok(HashSet::new());
    }
    // The snapshot of the upsert may be older than another session's commit, so a newer statement
    // compares the rows.
    let columns = columns_of(
        writer.catalog.mapping(table),
        rows.iter().filter(|mapped| unexplained.contains(&mapped.row.id)),
    );
    let step = during(&writer.session, writing(table));
    let differing = step.rows(writer.differing(table).await?, &columns.parameters()).await?;
    Ok(differing.iter().map(|row| row.get(0)).collect())
}

/// Whether, by the limits last read, no row was refused and no value was cut.
pub(super) fn all_fit(mapped: &[Mapped], rejected: &Rejected<'_, '_>) -> bool {
    rejected.is_empty() && !mapped.iter().any(|mapped| mapped.row.is_cut())
}
