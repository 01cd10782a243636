//! Set-based statements of one segment: filling in unchanged TOAST values, and writing rows.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::partial_update::lacks_only_metadata;
use super::rows::Columns;
use super::statements;
use super::writer::{Supplied, Writer, writing};
use crate::batch::{Segment, Write};
use crate::error::{Error, Result};
use crate::mapping::{self, TrafficRow};
use crate::model::change::{Datum, Origin, Row, Table};
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::quarantine::RefusalCause;
use crate::quarantine::notes::Scope;

/// How to treat a lead whose only unchanged TOAST value is `metadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnchangedToast {
    /// Write a partial update: `metadata` on Traffic stays.
    MayStay,
    /// Fill in `metadata`, because the caller needs the whole row.
    IsNeeded,
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

fn columns_of<'m>(table: Table, rows: impl Iterator<Item = &'m Mapped>) -> Columns<'m> {
    let width = mapping::targets(table).len();
    Columns::new(width, rows.map(|mapped| (&mapped.row, mapped.origin.commit_time)))
}

/// Rows refused by the mapping, each with the reason.
pub(super) type Rejected<'w, 'c> = Vec<(&'w Write<'c>, mapping::Rejection)>;

impl Writer {
    /// Fills in the unchanged TOAST values of a segment from quarantine, else from Traffic, else with the
    /// whole row from Landing. With [`UnchangedToast::MayStay`], a lead without `metadata` may stay as a
    /// partial update (see `partial_update`).
    ///
    /// Drops a row gone from Landing too, because the row's delete follows in the stream (guarantees 3.2).
    pub(super) async fn resolve(
        &mut self,
        segment: &mut Segment<'_>,
        supplied: &Supplied,
        metadata: UnchangedToast,
    ) -> Result<Resolved> {
        let mut missing = HashSet::new();
        let may_stay =
            |write: &Write<'_>| metadata == UnchangedToast::MayStay && lacks_only_metadata(&write.row);
        for writes in [&mut segment.leads, &mut segment.children] {
            let mut by_table: HashMap<Table, (Vec<Uuid>, Vec<Uuid>)> = HashMap::new();
            for write in writes.iter().filter(|write| write.row.has_unchanged()) {
                let (stay, fill) = by_table.entry(write.row.table).or_default();
                if may_stay(write) { stay } else { fill }.push(write.row.id);
            }
            for (table, (stay, ids)) in by_table {
                if self.weight(table, &stay, &ids).await? > RESTORED_BYTES {
                    return Ok(Resolved::TooLarge);
                }
                let mut images = self.images(table, &ids).await?;
                if self.may_have_quarantined && !stay.is_empty() {
                    images.extend(self.quarantine.images(&self.session, table, &stay).await?);
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
    async fn weight(&self, table: Table, stay: &[Uuid], fill: &[Uuid]) -> Result<u64> {
        let mut bytes = 0;
        if fill.len() > 1 {
            let row = self.session.query_one(&statements::weigh(&self.names, table), &[&fill]).await;
            let step = format!("weighing rows of {}", table.traffic_name());
            let row = row.map_err(|error| Error::database(step, &error))?;
            bytes += row.get::<_, i64>(0).unsigned_abs();
        }
        if self.may_have_quarantined && stay.len() + fill.len() > 1 {
            bytes += self.quarantine.weight(&self.session, table, &[stay, fill].concat()).await?;
        }
        Ok(bytes)
    }

    /// Values of the rows on the Traffic side: the quarantined image, else the row on Traffic. `None` for a
    /// quarantined row too large to have an image, because Traffic's own row is older.
    async fn images(&self, table: Table, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Row>>> {
        let mut images = HashMap::new();
        if ids.is_empty() {
            return Ok(images);
        }
        let step = format!("reading unchanged values from {}", table.traffic_name());
        let rows = during(&self.session, step).rows(self.read(table).await?, &[&ids]).await?;
        let restorable = statements::restorable(table);
        for found in &rows {
            let id: Uuid = found.get(0);
            let mut values: Box<[Datum]> = vec![Datum::Unchanged; table.columns().len()].into();
            for (answer, (column, _)) in restorable.iter().enumerate() {
                if let Some(value) = values.get_mut(*column) {
                    *value = found.get::<_, Option<String>>(answer + 1).map_or(Datum::Null, Datum::text);
                }
            }
            images.insert(id, Some(Row { table, id, values }));
        }
        if self.may_have_quarantined {
            images.extend(self.quarantine.images(&self.session, table, ids).await?);
        }
        Ok(images)
    }

    /// Writes whole rows of one table, in primary-key order. Quarantines a row refused by the mapping, a row
    /// whose lead is not on Traffic, and a row left out by a trigger. `present` holds ids of leads, in order:
    /// the leads are on Traffic, and no other session can delete them. Returns the ids of written rows of
    /// which the same is true now, in order.
    pub(super) async fn write_rows(
        &mut self,
        table: Table,
        writes: &[Write<'_>],
        present: &[Uuid],
    ) -> Result<Vec<Uuid>> {
        let waiting = self.take_keys(table, writes).await?;
        if !waiting.is_empty() {
            let others: Vec<Write<'_>> =
                writes.iter().filter(|write| !waiting.contains(&write.row.id)).cloned().collect();
            return Box::pin(self.write_rows(table, &others, present)).await;
        }
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let copied = if self.should_copy(table, writes) {
            self.tried_copy = true;
            Box::pin(self.copy_new(table, writes, present)).await?
        } else {
            None
        };
        let by_copy = copied.is_some();
        let copied = copied.unwrap_or_default();
        let rest = || writes.iter().filter(|write| !(by_copy && write.new));
        let (mut mapped, mut rejected) = self.map_rows(table, rest());
        // A value too long for the limits may fit by now, because a column may have become wider.
        if !all_fit(&mapped, &rejected)
            && self.catalog.renew_limits(&self.session, &self.names, table).await?
        {
            (mapped, rejected) = self.map_rows(table, rest());
        }
        let upserted = self.upsert_rows(table, &mapped).await?;
        let skipped = self.skipped(table, &mapped, &upserted.unexplained).await?;
        let mut orphans = upserted.orphans;
        mapped.retain(|mapped| !orphans.contains(&mapped.row.id) && !skipped.contains(&mapped.row.id));
        self.counts.written += upserted.written + copied.ids.len() as u64;
        self.counts.unchanged += (mapped.len() as u64).saturating_sub(upserted.written);
        let upserted = mapped.iter().map(|mapped| mapped.row.id);
        // A copied row has no old note, because the delete of an earlier row with the same key removed the
        // notes. The exception: the delete was quarantined, and somebody then deleted the row by hand. So
        // copied rows may have old notes only while quarantine may hold rows.
        let unnoted = self.new_tables.contains(&table) || !self.may_have_quarantined;
        let mut noted: Vec<Uuid> = upserted.clone().collect();
        noted.extend(copied.ids.iter().filter(|_| !unnoted));
        let ids: Vec<Uuid> = upserted.chain(copied.ids.iter().copied()).collect();
        let rows: Vec<&Mapped> = mapped.iter().chain(&copied.noted).collect();
        self.settle(table, &ids, &noted, &rows).await?;
        rejected.extend(copied.rejected);
        for (write, rejection) in rejected {
            let cause = RefusalCause::new(rejection.sqlstate, rejection.message);
            self.quarantine_write(write, &cause).await?;
        }
        orphans.extend(copied.orphans);
        let cause = RefusalCause::lead_is_missing(Side::Traffic);
        for write in writes.iter().filter(|write| orphans.contains(&write.row.id)) {
            self.quarantine_write(write, &cause).await?;
        }
        let cause = RefusalCause::of(&Error::skipped(writing(table)));
        for write in writes.iter().filter(|write| skipped.contains(&write.row.id)) {
            self.quarantine_write(write, &cause).await?;
        }
        Ok(if copied.all_there { copied.ids } else { Vec::new() })
    }

    /// Maps rows. Returns the mapped rows, and the rows refused by the mapping.
    pub(super) fn map_rows<'w, 'c: 'w>(
        &self,
        table: Table,
        writes: impl Iterator<Item = &'w Write<'c>>,
    ) -> (Vec<Mapped>, Rejected<'w, 'c>) {
        let limits = self.catalog.limits(table);
        let (mut mapped, mut rejected) = (Vec::new(), Vec::new());
        for write in writes {
            match mapping::map(&write.row, limits) {
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
    pub(super) async fn upsert_rows(&self, table: Table, rows: &[Mapped]) -> Result<Upserted> {
        if rows.is_empty() {
            return Ok(Upserted::default());
        }
        let columns = columns_of(table, rows.iter());
        let step = writing(table);
        let answer = self.session.query_one(self.upsert(table)?, &columns.parameters()).await;
        let answer = answer.map_err(|error| Error::writing(&step, &error).of_table(table.traffic_name()))?;
        let count = |at| answer.get::<_, i64>(at).unsigned_abs();
        let ids = |at| answer.get::<_, Vec<Uuid>>(at).into_iter().collect::<HashSet<Uuid>>();
        let (written, unchanged) = (count(0), count(1));
        let upserted = Upserted { written, unexplained: ids(2), orphans: ids(3) };
        let left_out = (upserted.unexplained.len() + upserted.orphans.len()) as u64;
        match written + unchanged + left_out == rows.len() as u64 {
            true => Ok(upserted),
            false => Err(Error::internal(format!(
                "{step}: {} rows were sent, and Traffic answers for {written} written, {unchanged} unchanged and \
                 {left_out} left out",
                rows.len()
            ))),
        }
    }

    /// The rows left out by a trigger: not written, and not held by Traffic as they should be.
    async fn skipped(
        &self,
        table: Table,
        rows: &[Mapped],
        unexplained: &HashSet<Uuid>,
    ) -> Result<HashSet<Uuid>> {
        if unexplained.is_empty() {
            return Ok(HashSet::new());
        }
        // The snapshot of the upsert may be older than another session's commit, so a newer statement
        // compares the rows.
        let columns = columns_of(table, rows.iter().filter(|mapped| unexplained.contains(&mapped.row.id)));
        let differing = self.session.query(self.differing(table).await?, &columns.parameters()).await;
        let differing = differing.map_err(|error| Error::database(writing(table), &error))?;
        Ok(differing.iter().map(|row| row.get(0)).collect())
    }

    /// Records that Traffic has the rows `ids` as Landing has them, written or deleted: releases the rows
    /// from quarantine, and updates their notes. Only rows in `noted` may have old notes; `rows` has every
    /// row with new notes, at least.
    pub(super) async fn settle(
        &mut self,
        table: Table,
        ids: &[Uuid],
        noted: &[Uuid],
        rows: &[&Mapped],
    ) -> Result<()> {
        if self.may_have_quarantined {
            self.quarantine.release(&self.session, table, ids).await?;
        }
        if self.may_have_notes() && !noted.is_empty() {
            let still = rows.iter().map(|mapped| &mapped.row);
            let scope = Scope { table, ids: noted, columns: None };
            self.notes.forget(&self.session, scope, still).await?;
        }
        let noted = rows.iter().map(|mapped| (&mapped.row, mapped.origin));
        self.has_noted |= self.notes.write(&self.session, table, noted).await?;
        Ok(())
    }
}

/// Whether, by the limits last read, no row was refused and no value was cut.
pub(super) fn all_fit(mapped: &[Mapped], rejected: &Rejected<'_, '_>) -> bool {
    rejected.is_empty() && !mapped.iter().any(|mapped| mapped.row.is_cut())
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
        for (column, value) in row.values.iter_mut().enumerate() {
            if *value == Datum::Unchanged && statements::is_expendable(row.table, column) {
                *value = Datum::Null;
            }
        }
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
