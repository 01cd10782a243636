//! The result of a comparison, of either direction; pure.

use std::borrow::Cow;

use serde::Serialize;
use uuid::Uuid;

use super::attribution::Tally;
use super::content::Contents;
use super::merge::{Expectation, HeldRow, Met, meet};
use crate::model::change::Table;

/// Number of examples kept of each kind of difference.
pub(super) const EXAMPLES: usize = 10;

/// Largest number of keys kept of rows that differ, for the recheck: 16 bytes each.
pub(super) const SUSPECTS: usize = 100_000;

/// How a row differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "columns")]
pub enum Difference {
    /// On the source, not on the target.
    Missing,
    /// On the target, not on the source.
    Extra,
    /// On both sides, with unequal values in the listed columns of the target's table.
    Different(Vec<Cow<'static, str>>),
    /// On both sides, with unequal values in the listed columns, which come from metadata that Landing need
    /// not have sent since. Somebody changed the values on Traffic, and the values stay until Landing sends
    /// the metadata again. Not counted as a difference.
    Changed(Vec<Cow<'static, str>>),
}

/// The key of a row that differs and the kind of difference, without values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceExample {
    pub id: Uuid,
    #[serde(flatten)]
    pub difference: Difference,
}

/// Result of comparing a table, or a part of a table. The source is the side whose rows are carried to the
/// target: Landing, and after a cutover Traffic.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// The table's name on Landing.
    pub table: Cow<'static, str>,
    pub landing_rows: u64,
    /// Rows of Traffic that were read. Forward replication does not read rows born on Traffic.
    pub traffic_rows: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// Rows that the mapping refuses because a value is too long for Traffic. Such rows belong in quarantine.
    pub refused: u64,
    /// Rows counted in `refused` of which Traffic holds an older image.
    #[serde(skip)]
    pub(super) refused_and_held: u64,
    /// Rows that are equal except for a later `updated_at` on the target: somebody changed a column that the
    /// target owns, and the target's trigger stamped the row. Not counted as a difference, because the
    /// source's next change restores the source's `updated_at`.
    #[serde(rename = "touched_on_traffic")]
    pub stamped: u64,
    /// Rows on which a change made on Traffic stays: see [`Difference::Changed`].
    pub changed_on_traffic: u64,
    /// Number of compared values, in all columns that Landing has.
    pub values: u64,
    pub examples: Vec<DifferenceExample>,
    /// Rows of Traffic that Landing lacks and need not have: born on Traffic, and not known to have changed
    /// since the switch.
    #[serde(skip)]
    pub elsewhere: u64,
    /// Keys of the rows counted in `missing`, `extra`, `different` and `refused`, the first [`SUSPECTS`] of
    /// them.
    #[serde(skip)]
    pub(super) suspects: Vec<Uuid>,
    /// Keys of the rows counted in `changed_on_traffic`, the first [`SUSPECTS`] of them.
    #[serde(skip)]
    pub(super) changed: Vec<Uuid>,
    /// Keys of the large rows that are not compared yet.
    #[serde(skip)]
    pub(super) large: Vec<Uuid>,
    /// Whether more than [`SUSPECTS`] keys are kept.
    #[serde(skip)]
    pub(super) keeps_every_key: bool,
    /// Hashes of both sides, when requested.
    #[serde(skip)]
    pub(super) contents: Option<Contents>,
    /// Landing's leads by the values that decide the attribution.
    #[serde(skip)]
    pub(super) tally: Tally,
}

impl Comparison {
    pub(super) fn new(table: Table) -> Self {
        Comparison { table: table.label().into(), ..Comparison::default() }
    }

    /// Counts the rows of one key.
    pub(super) fn count<E: Expectation>(&mut self, expectation: &E, met: &Met<'_, E::Landing>) {
        self.landing_rows += u64::from(!matches!(met, Met::Traffic(_)));
        self.traffic_rows += u64::from(!matches!(met, Met::Landing(_)));
        expectation.judge(met, self);
    }

    /// Counts rows that are in memory, each side sorted by key.
    pub(super) fn count_all<E: Expectation>(
        &mut self,
        expectation: &E,
        landing: &[E::Landing],
        traffic: &[HeldRow],
    ) {
        let (mut landing, mut traffic) = (landing.iter().peekable(), traffic.iter().peekable());
        while let Some(met) = meet::<E>(landing.peek().copied(), traffic.peek().copied()) {
            self.count(expectation, &met);
            let (on_landing, on_traffic) = met.sides();
            landing.next_if(|_| on_landing);
            traffic.next_if(|_| on_traffic);
        }
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

    pub(super) fn into_unlike(mut self) -> Vec<Uuid> {
        self.suspects.append(&mut self.changed);
        self.suspects
    }

    /// Whether the key of every row that is not as the mapping makes it was kept.
    pub fn knows_its_suspects(&self) -> bool {
        self.suspects.len() as u64 == self.differences()
            && self.changed.len() as u64 == self.changed_on_traffic
    }

    /// Every counter. An interrupted comparison is recorded in this order, so a new counter comes last.
    pub(super) fn counters(&mut self) -> [&mut u64; 11] {
        [
            &mut self.landing_rows,
            &mut self.traffic_rows,
            &mut self.missing,
            &mut self.extra,
            &mut self.different,
            &mut self.refused,
            &mut self.refused_and_held,
            &mut self.stamped,
            &mut self.changed_on_traffic,
            &mut self.values,
            &mut self.elsewhere,
        ]
    }

    /// Adds the result of another part of the same table.
    pub(super) fn add(&mut self, mut other: Comparison) {
        for (counter, more) in self.counters().into_iter().zip(other.counters()) {
            *counter += *more;
        }
        self.tally.merge(other.tally);
        self.large.extend(other.large);
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

    pub(super) fn suspect(&mut self, id: Uuid) {
        if self.keeps_every_key || self.suspects.len() < SUSPECTS {
            self.suspects.push(id);
        }
    }

    pub(super) fn note(&mut self, id: Uuid, difference: Difference) {
        if !matches!(difference, Difference::Changed(_)) {
            self.suspect(id);
        } else if self.keeps_every_key || self.changed.len() < SUSPECTS {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_kept_where_that_is_asked_for() {
        for keeps_every_key in [false, true] {
            let mut found = Comparison { keeps_every_key, ..Comparison::new(Table::LandingLeads) };
            for number in 0..SUSPECTS as u128 + 1 {
                found.note(Uuid::from_u128(number), Difference::Missing);
                found.note(Uuid::from_u128(number << 64), Difference::Changed(Vec::new()));
            }
            assert_eq!(found.knows_its_suspects(), keeps_every_key);
            assert_eq!(found.into_unlike().len(), 2 * (SUSPECTS + usize::from(keeps_every_key)));
        }
    }
}
