//! Merges two sorted tables and counts the differences; pure.

use std::cmp::Ordering;

use serde::Serialize;
use uuid::Uuid;

use super::content::{Contents, RowHash};
use crate::mapping::{self, Absent, Target, TrafficRow};
use crate::model::change::Table;

/// Number of examples kept of each kind of difference.
const EXAMPLES: usize = 10;

/// Largest number of keys kept of rows that differ, for the recheck: 16 bytes each.
pub(super) const SUSPECTS: usize = 100_000;

/// A Landing row after the mapping; `row` is `None` when the mapping refuses the row, and the row belongs in
/// quarantine.
#[derive(PartialEq, Eq)]
pub(super) struct ExpectedRow {
    pub id: Uuid,
    pub row: Option<TrafficRow>,
    /// Whether an update of the row on Landing may leave out the metadata (unchanged TOAST value).
    pub may_be_unsent: bool,
}

/// A Traffic row: one text for each of [`mapping::targets`].
pub(super) struct HeldRow {
    pub id: Uuid,
    pub values: Vec<Option<String>>,
}

/// How a row differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "columns")]
pub enum Difference {
    /// On Landing, not on Traffic.
    Missing,
    /// On Traffic as a row that came from Landing, and not on Landing.
    Extra,
    /// On both sides, with unequal values in the listed columns of Traffic's table.
    Different(Vec<&'static str>),
    /// On both sides, with unequal values in the listed columns, which come from metadata that Landing need
    /// not have sent since. Somebody changed the values on Traffic, and the values stay until Landing sends
    /// the metadata again. Not counted as a difference.
    Changed(Vec<&'static str>),
}

/// The key of a row that differs and the kind of difference, without values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceExample {
    pub id: Uuid,
    #[serde(flatten)]
    pub difference: Difference,
}

/// Result of comparing a table, or a part of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The table's name on Landing.
    pub table: &'static str,
    pub landing_rows: u64,
    /// Rows that came from Landing; rows born on Traffic are not read.
    pub traffic_rows: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// Rows that the mapping refuses because a value is too long for Traffic. Such rows belong in quarantine.
    pub refused: u64,
    /// Rows counted in `refused` of which Traffic holds an older image.
    #[serde(skip)]
    refused_and_held: u64,
    /// Rows that are equal except for a later `updated_at` on Traffic: somebody changed a column that Traffic
    /// owns, and Traffic's trigger stamped the row. Not counted as a difference, because Landing's next
    /// change restores Landing's `updated_at`.
    pub touched_on_traffic: u64,
    /// Rows on which a change made on Traffic stays: see [`Difference::Changed`].
    pub changed_on_traffic: u64,
    /// Number of compared values, in all columns that Landing owns.
    pub values: u64,
    pub examples: Vec<DifferenceExample>,
    /// Keys of the rows counted in `missing`, `extra`, `different` and `refused`, the first [`SUSPECTS`] of
    /// them.
    #[serde(skip)]
    pub(super) suspects: Vec<Uuid>,
    /// Keys of the rows counted in `changed_on_traffic`, the first [`SUSPECTS`] of them.
    #[serde(skip)]
    changed: Vec<Uuid>,
    #[serde(skip)]
    of: Table,
    #[serde(skip)]
    targets: &'static [Target],
    /// Columns that Landing lacks. The target columns derived from absent columns belong to Traffic and are
    /// not compared.
    #[serde(skip)]
    absent: Absent,
    /// Hashes of both sides, when requested.
    #[serde(skip)]
    pub(super) contents: Option<Contents>,
}

/// The side whose current row has been handled and whose cursor advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Landing,
    Traffic,
    Both,
    End,
}

impl Comparison {
    pub(super) fn new(table: Table, absent: Absent) -> Self {
        Comparison {
            table: table.landing_name(),
            landing_rows: 0,
            traffic_rows: 0,
            missing: 0,
            extra: 0,
            different: 0,
            refused: 0,
            refused_and_held: 0,
            touched_on_traffic: 0,
            changed_on_traffic: 0,
            values: 0,
            examples: Vec::new(),
            suspects: Vec::new(),
            changed: Vec::new(),
            of: table,
            targets: mapping::targets(table),
            absent,
            contents: None,
        }
    }

    pub(super) fn with_contents(self) -> Self {
        Comparison { contents: Some(Contents::default()), ..self }
    }

    /// Number of rows that are missing, extra, different or refused.
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.different + self.refused
    }

    /// Keys of the rows that differ: at most the first `SUSPECTS`.
    pub fn differing(&self) -> &[Uuid] {
        &self.suspects
    }

    /// Keys of all rows that are not as the mapping makes them: the differing rows, and the rows on which a
    /// change made on Traffic stays.
    pub fn unlike(&self) -> Vec<Uuid> {
        self.suspects.iter().chain(&self.changed).copied().collect()
    }

    /// Whether the key of every row that is not as the mapping makes it was kept.
    pub fn knows_its_suspects(&self) -> bool {
        self.suspects.len() as u64 == self.differences()
            && self.changed.len() as u64 == self.changed_on_traffic
    }

    /// Adds the result of another part of the same table.
    pub(super) fn add(&mut self, other: Comparison) {
        self.landing_rows += other.landing_rows;
        self.traffic_rows += other.traffic_rows;
        self.refused += other.refused;
        self.refused_and_held += other.refused_and_held;
        self.touched_on_traffic += other.touched_on_traffic;
        self.values += other.values;
        let kinds = [
            (&mut self.missing, other.missing),
            (&mut self.extra, other.extra),
            (&mut self.different, other.different),
            (&mut self.changed_on_traffic, other.changed_on_traffic),
        ];
        for (sum, count) in kinds {
            *sum += count;
        }
        for example in other.examples {
            let kind = std::mem::discriminant(&example.difference);
            let of_its_kind = |known: &&DifferenceExample| std::mem::discriminant(&known.difference) == kind;
            if self.examples.iter().filter(of_its_kind).count() < EXAMPLES {
                self.examples.push(example);
            }
        }
        let room = SUSPECTS.saturating_sub(self.suspects.len());
        self.suspects.extend(other.suspects.into_iter().take(room));
        let room = SUSPECTS.saturating_sub(self.changed.len());
        self.changed.extend(other.changed.into_iter().take(room));
    }

    /// Removes the rows that differed from the counts: a recheck compares these rows again and counts the
    /// result.
    pub(super) fn without_suspects(mut self) -> Self {
        self.landing_rows -= self.missing + self.different + self.refused + self.changed_on_traffic;
        self.traffic_rows -= self.extra + self.different + self.refused_and_held + self.changed_on_traffic;
        (self.missing, self.extra, self.different, self.changed_on_traffic) = (0, 0, 0, 0);
        self.changed.clear();
        (self.refused, self.refused_and_held) = (0, 0);
        self.examples.clear();
        self.suspects.clear();
        self
    }

    fn suspect(&mut self, id: Uuid) {
        if self.suspects.len() < SUSPECTS {
            self.suspects.push(id);
        }
    }

    fn note(&mut self, id: Uuid, difference: Difference) {
        if !matches!(difference, Difference::Changed(_)) {
            self.suspect(id);
        } else if self.changed.len() < SUSPECTS {
            self.changed.push(id);
        }
        let count = match difference {
            Difference::Missing => &mut self.missing,
            Difference::Extra => &mut self.extra,
            Difference::Different(_) => &mut self.different,
            Difference::Changed(_) => &mut self.changed_on_traffic,
        };
        *count += 1;
        if *count <= EXAMPLES as u64 {
            self.examples.push(DifferenceExample { id, difference });
        }
    }

    fn pair(&mut self, expected: &TrafficRow, may_be_unsent: bool, held: &HeldRow) {
        let mut columns: Vec<&'static Target> = Vec::new();
        let mut is_later = false;
        let (mut ours_hash, mut theirs_hash) = (RowHash::new(expected.id), RowHash::new(held.id));
        for (target, (ours, theirs)) in self.targets.iter().zip(expected.values.iter().zip(&held.values)) {
            if (ours.is_none() && target.keeps_target_when_null()) || !self.absent.leaves(target) {
                continue;
            }
            self.values += 1;
            if self.contents.is_some() {
                ours_hash.value(ours.as_deref());
                theirs_hash.value(theirs.as_deref());
            }
            if ours.as_deref() != theirs.as_deref() {
                // Times in UTC and ISO form sort in the order of their text.
                is_later |= target.name == "updated_at" && theirs.as_deref() > ours.as_deref();
                columns.push(target);
            }
        }
        let touched = matches!(columns[..], [only] if only.name == "updated_at") && is_later;
        let changed = may_be_unsent && self.is_traffics_change(&columns, is_later);
        if let Some(contents) = &mut self.contents {
            // A deviation that is not counted as a difference must not make the hashes differ.
            contents.traffic.add(if touched || changed { ours_hash.clone() } else { theirs_hash });
            contents.landing.add(ours_hash);
        }
        let names = columns.iter().map(|target| target.name).collect();
        match columns[..] {
            [] => {}
            _ if touched => self.touched_on_traffic += 1,
            _ if changed => self.note(held.id, Difference::Changed(names)),
            _ => self.note(held.id, Difference::Different(names)),
        }
    }

    /// Whether all unequal columns can be the result of a change that somebody made on Traffic: columns that
    /// come from metadata alone, columns that have been computed from metadata and the source since, and the
    /// `updated_at` that Traffic's trigger stamps.
    fn is_traffics_change(&self, columns: &[&Target], is_later: bool) -> bool {
        let is_metadata = |target: &&Target| target.is_metadatas_of(self.of);
        let document = columns.iter().any(|target| target.name == "metadata");
        columns.iter().any(is_metadata)
            && columns.iter().all(|target| {
                is_metadata(target)
                    || (target.is_partly_of_metadata() && document)
                    || (target.name == "updated_at" && is_later)
            })
    }
}

/// Compares the smallest remaining keys of the two sides. Keys ascend in byte order, as PostgreSQL's do.
pub(super) fn meet(found: &mut Comparison, landing: Option<&ExpectedRow>, traffic: Option<&HeldRow>) -> Next {
    let order = match (landing, traffic) {
        (None, None) => return Next::End,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(expected), Some(held)) => expected.id.cmp(&held.id),
    };
    if let Some(expected) = landing.filter(|_| order.is_le()) {
        found.landing_rows += 1;
        match (&expected.row, traffic.filter(|_| order.is_eq())) {
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
            (Some(row), Some(held)) => found.pair(row, expected.may_be_unsent, held),
        }
    }
    if let Some(held) = traffic.filter(|_| order.is_ge()) {
        found.traffic_rows += 1;
        if order.is_gt() {
            if let Some(contents) = &mut found.contents {
                contents.traffic.add(RowHash::of(held.id, held.values.iter().map(Option::as_deref)));
            }
            found.note(held.id, Difference::Extra);
        }
    }
    match order {
        Ordering::Less => Next::Landing,
        Ordering::Equal => Next::Both,
        Ordering::Greater => Next::Traffic,
    }
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
