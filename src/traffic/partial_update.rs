//! Updates of leads that left a TOASTed `metadata` alone: `pgoutput` did not send it, so it stays on the server,
//! and with it what comes from it alone. Reading it back would cost memory and time by its size.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row as Answer;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::notes::Scope;
use super::rows::Columns;
use super::segment::{Resolved, UnchangedToast};
use super::writer::{Supplied, Writer};
use crate::batch::{Segment, Write};
use crate::change::{Datum, Row, Table, lead};
use crate::error::{Error, Result};
use crate::mapping::{self, DeclaredFunnel, TrafficRow};

const TABLE: Table = Table::LandingLeads;

/// Whether `metadata`, and nothing else, was not sent.
pub(super) fn lacks_only_metadata(row: &Row) -> bool {
    let unsent = |(column, value): (usize, &Datum)| *value == Datum::Unchanged && column != lead::METADATA;
    row.table == TABLE
        && row.values.get(lead::METADATA) == Some(&Datum::Unchanged)
        && !row.values.iter().enumerate().any(unsent)
}

/// A lead that Traffic has, but whose funnel must be computed again: what its metadata declares.
type Declared = HashMap<Uuid, Option<String>>;

impl Writer {
    /// Writes leads whose `metadata` was left alone, in primary-key order. Returns the keys of those that are not
    /// on Traffic: only Landing can supply them.
    pub(super) async fn write_partial_updates(
        &mut self,
        mut writes: Vec<Write<'_>>,
        supplied: &Supplied,
    ) -> Result<Vec<(Table, Uuid)>> {
        let mut refused = Vec::new();
        let mut declared = None;
        // Once for all; then for those whose funnel must be computed with what their metadata declares.
        while !writes.is_empty() {
            let (mut mapped, mut rejected) = self.map_partial_update(writes, declared.as_ref());
            // What is cut may fit by now, as in `write_rows`; what is refused goes there anyway.
            let cut = mapped.iter().any(|(_, row)| row.is_cut());
            if cut && self.catalog.renew_limits(&self.session, &self.names, TABLE).await? {
                let again = mapped.into_iter().map(|(write, _)| write).collect();
                let (fit, unfit) = self.map_partial_update(again, declared.as_ref());
                mapped = fit;
                rejected.extend(unfit);
            }
            refused.extend(rejected);
            let (left, skipped) = self.write_known(&mapped).await?;
            // Written whole, they are seen to be left out, and quarantined.
            refused.extend(
                mapped.extract_if(.., |(write, _)| skipped.contains(&write.row.id)).map(|(write, _)| write),
            );
            let absent = |(id, _): (&Uuid, &Option<Option<String>>)| (TABLE, *id);
            let missing: Vec<_> = left.iter().filter(|(_, known)| known.is_none()).map(absent).collect();
            // A row whose funnel was known and that was left all the same went away in between.
            if !missing.is_empty() || (declared.is_some() && !left.is_empty()) {
                return Ok(left.iter().map(absent).collect());
            }
            let known: Declared = left.into_iter().filter_map(|(id, known)| Some((id, known?))).collect();
            let (again, done): (Vec<_>, Vec<_>) =
                mapped.into_iter().partition(|(write, _)| known.contains_key(&write.row.id));
            self.settle_partial_updates(&done).await?;
            writes = again.into_iter().map(|(write, _)| write).collect();
            declared = Some(known);
        }
        self.write_refused(refused, supplied).await
    }

    /// The mapped rows, and those that the mapping refused.
    fn map_partial_update<'c>(
        &self,
        writes: Vec<Write<'c>>,
        declared: Option<&Declared>,
    ) -> (Vec<(Write<'c>, TrafficRow)>, Vec<Write<'c>>) {
        let limits = self.catalog.limits(TABLE);
        let (mut mapped, mut refused) = (Vec::with_capacity(writes.len()), Vec::new());
        for write in writes {
            let funnel = match declared.and_then(|declared| declared.get(&write.row.id)) {
                Some(declared) => DeclaredFunnel::Known(declared.as_deref()),
                None => DeclaredFunnel::Unknown,
            };
            match mapping::map_partial_update(&write.row, limits, funnel) {
                Ok(row) => mapped.push((write, row)),
                Err(_) => refused.push(write),
            }
        }
        (mapped, refused)
    }

    /// Returns the rows that could not be written; `None` for one that is not on Traffic, else what its metadata
    /// declares. And those that were not written although they differ: a trigger has left them out.
    async fn write_known(
        &self,
        rows: &[(Write<'_>, TrafficRow)],
    ) -> Result<(HashMap<Uuid, Option<Option<String>>>, HashSet<Uuid>)> {
        let width = mapping::partial_update_targets().count();
        let columns = Columns::new(width, rows.iter().map(|(write, row)| (row, write.origin.commit_time)));
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.parameters();
        let left = self.session.query(self.partial_update().await?, &parameters).await;
        let left =
            left.map_err(|error| Error::writing(format!("writing {}", TABLE.traffic_name()), &error))?;
        let (skipped, left): (Vec<_>, Vec<_>) = left.iter().partition(|row| row.get(3));
        let declared = |row: &&Answer| (row.get(0), row.get::<_, bool>(1).then(|| row.get(2)));
        Ok((left.iter().map(declared).collect(), skipped.iter().map(|row| row.get(0)).collect()))
    }

    /// What is noted about `metadata` still holds; the notes of the other columns are brought up to date.
    async fn settle_partial_updates(&mut self, done: &[(Write<'_>, TrafficRow)]) -> Result<()> {
        let ids: Vec<Uuid> = done.iter().map(|(write, _)| write.row.id).collect();
        if self.may_have_notes() {
            let columns: Vec<&str> = mapping::partial_update_targets()
                .filter(|target| !target.is_partly_of_metadata())
                .map(|target| target.name)
                .collect();
            let still = done.iter().map(|(_, row)| row);
            let scope = Scope { table: TABLE, ids: &ids, columns: Some(&columns) };
            self.notes.forget(&self.session, scope, still).await?;
        }
        let noted = done.iter().map(|(write, row)| (row, write.origin));
        self.has_noted |= self.notes.write(&self.session, TABLE, noted).await?;
        Ok(())
    }

    /// What the mapping refused is quarantined whole: with its metadata after all.
    async fn write_refused(
        &mut self,
        refused: Vec<Write<'_>>,
        supplied: &Supplied,
    ) -> Result<Vec<(Table, Uuid)>> {
        let mut missing = Vec::new();
        // One at a time: what they leave out may be large.
        for write in refused {
            let mut alone = Segment { leads: vec![write], ..Segment::default() };
            match self.resolve(&mut alone, supplied, UnchangedToast::IsNeeded).await? {
                Resolved::Missing(keys) => missing.extend(keys),
                // One row is never too large: there is nothing to split.
                Resolved::Whole | Resolved::TooLarge => {
                    self.write_rows(TABLE, &alone.leads, &[]).await?;
                }
            }
        }
        Ok(missing)
    }
}
