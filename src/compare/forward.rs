//! The expectation of forward replication: Traffic holds the rows that the mapping makes of Landing's rows;
//! pure.

use std::sync::Arc;

use uuid::Uuid;

use super::comparison::{Comparison, Difference};
use super::content::RowHash;
use super::merge::{Expectation, HeldRow, Met};
use crate::mapping::inverse::TrafficImage;
use crate::mapping::{Limits, TableMapping, Target, TrafficRow};
use crate::model::change::{ColumnType, Row};

/// A Landing row after the mapping; `row` is `None` when the mapping refuses the row, and the row belongs in
/// quarantine.
#[derive(PartialEq, Eq)]
pub(super) struct ExpectedRow {
    pub id: Uuid,
    pub row: Option<TrafficRow>,
    /// Whether an update of the row on Landing may leave out the metadata (unchanged TOAST value).
    pub may_be_unsent: bool,
}

/// Condition on a row `t` of Traffic: the row came from Landing.
pub(super) const ON_LANDING: &str = "t.landing_synced_at IS NOT NULL";

/// Traffic's rows by the mapping of Landing's.
pub(super) struct ByMapping {
    /// The target columns to which Landing gives no value belong to Traffic, and are not compared.
    mapping: Arc<TableMapping>,
    limits: Box<Limits>,
}

impl Expectation for ByMapping {
    const READS_ROWS_BORN_ON_TRAFFIC: bool = false;

    type Landing = ExpectedRow;

    fn landing(&self, row: Row, stored: usize) -> ExpectedRow {
        let may_be_unsent = may_be_unsent(&row, stored);
        ExpectedRow { id: row.id, row: self.mapping.map(&row, &self.limits).ok(), may_be_unsent }
    }

    fn id(landing: &ExpectedRow) -> Uuid {
        landing.id
    }

    fn must_be_on_landing(&self) -> String {
        ON_LANDING.to_owned()
    }

    /// The direction carries no row from Traffic.
    fn stays_on_traffic(&self) -> String {
        "false".to_owned()
    }

    fn judge(&self, met: &Met<'_, ExpectedRow>, found: &mut Comparison) {
        let (expected, held) = match *met {
            Met::Traffic(held) => {
                if let Some(contents) = &mut found.contents {
                    let values = held.image.values.iter().map(Option::as_deref);
                    contents.traffic.add(RowHash::of(held.image.id, values));
                }
                return found.note(held.image.id, Difference::Extra);
            }
            Met::Landing(expected) => (expected, None),
            Met::Both(expected, held) => (expected, Some(&held.image)),
        };
        match (&expected.row, held) {
            (None, held) => {
                found.refused += 1;
                found.refused_and_held += u64::from(held.is_some());
                found.suspect(expected.id);
            }
            (Some(row), None) => {
                if let Some(contents) = &mut found.contents {
                    contents.landing.add(RowHash::of(row.id, row.values.iter().map(Option::as_deref)));
                }
                found.note(expected.id, Difference::Missing);
            }
            (Some(row), Some(held)) => self.pair(row, expected.may_be_unsent, held, found),
        }
        found.tally.count(self.mapping.table, expected);
    }
}

impl ByMapping {
    pub(super) fn new(mapping: &Arc<TableMapping>, limits: &Limits) -> Self {
        ByMapping { mapping: Arc::clone(mapping), limits: limits.into() }
    }

    /// Compares rows that are in memory, sorted by key.
    pub(super) fn compare(&self, expected: &[ExpectedRow], held: &[HeldRow]) -> Comparison {
        let mut found = Comparison::new(self.mapping.table);
        found.count_all(self, expected, held);
        found
    }

    fn pair(&self, expected: &TrafficRow, may_be_unsent: bool, held: &TrafficImage, found: &mut Comparison) {
        let mut columns: Vec<&Target> = Vec::new();
        let mut is_later = false;
        let (mut ours_hash, mut theirs_hash) = (RowHash::new(expected.id), RowHash::new(held.id));
        let values = expected.values.iter().zip(&held.values);
        for (target, (ours, theirs)) in self.mapping.targets().iter().zip(values) {
            if !self.mapping.decides(target, ours.as_deref()) {
                continue;
            }
            found.values += 1;
            if found.contents.is_some() {
                ours_hash.value(ours.as_deref());
                theirs_hash.value(theirs.as_deref());
            }
            if ours != theirs {
                // Times in UTC and ISO form sort in the order of their text.
                is_later |= target.name == "updated_at" && theirs.as_deref() > ours.as_deref();
                columns.push(target);
            }
        }
        let stamped = matches!(columns[..], [only] if only.name == "updated_at") && is_later;
        let changed = may_be_unsent && self.is_traffics_change(&columns, expected, is_later);
        if let Some(contents) = &mut found.contents {
            // A deviation that is not counted as a difference must not make the hashes differ.
            contents.traffic.add(if stamped || changed { ours_hash.clone() } else { theirs_hash });
            contents.landing.add(ours_hash);
        }
        let names = columns.iter().map(|target| target.name.clone()).collect();
        match columns[..] {
            [] => {}
            _ if stamped => found.stamped += 1,
            _ if changed => found.note(held.id, Difference::Changed(names)),
            _ => found.note(held.id, Difference::Different(names)),
        }
    }

    /// Whether all unequal columns can be the result of a change that somebody made on Traffic: columns that
    /// come from metadata alone, columns that have been computed from metadata and the source since, and the
    /// `updated_at` that Traffic's trigger stamps.
    fn is_traffics_change(&self, columns: &[&Target], expected: &TrafficRow, is_later: bool) -> bool {
        let has_own = |own: usize| {
            let mut values = self.mapping.targets().iter().zip(&expected.values);
            let own = values.find(|(target, _)| target.verbatim_of() == Some(own));
            own.is_some_and(|(_, value)| value.as_ref().is_some_and(|text| !text.is_empty()))
        };
        let is_metadata = |target: &&Target| {
            target.is_metadatas_of(self.mapping.table)
                || target.own_before_metadata().is_some_and(|own| !has_own(own))
        };
        let document = columns.iter().any(|target| target.name == "metadata");
        columns.iter().any(is_metadata)
            && columns.iter().all(|target| {
                is_metadata(target)
                    || (target.is_partly_of_metadata() && document)
                    || (target.name == "updated_at" && is_later)
            })
    }
}

/// Whether an update that does not change the metadata may leave the metadata out: PostgreSQL stores the
/// largest values of a row of more than about 2 kB out of line.
fn may_be_unsent(row: &Row, stored: usize) -> bool {
    const LARGE: usize = 1800;
    let jsonb =
        |at: usize| row.table.columns().get(at).is_some_and(|column| column.kind == ColumnType::Jsonb);
    let others = row.values.iter().enumerate().filter(|(at, _)| !jsonb(*at));
    let texts = others.filter_map(|(_, value)| value.as_str()).map(str::len).sum::<usize>();
    stored > 0 && stored + texts >= LARGE
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
