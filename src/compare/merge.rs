//! Merges the rows of both sides by key, for either direction; pure.

use std::cmp::Ordering;

use uuid::Uuid;

use super::comparison::Comparison;
use crate::mapping::inverse::TrafficImage;
use crate::model::change::Row;

/// A row of Traffic.
pub(super) struct HeldRow {
    pub image: TrafficImage,
    /// Whether Landing must have the row: see [`Expectation::must_be_on_landing`].
    pub must_be_on_landing: bool,
    /// Whether the row has no place on Landing: see [`Expectation::stays_on_traffic`].
    pub stays_on_traffic: bool,
}

/// The rows that one direction of replication keeps equal, and the values that the direction expects.
pub(super) trait Expectation {
    /// Whether rows of Traffic are read that Landing need not have.
    const READS_ROWS_BORN_ON_TRAFFIC: bool;

    /// A row of Landing in the form in which the row is compared.
    type Landing;

    /// `stored` is the stored size of the metadata, in bytes.
    fn landing(&self, row: Row, stored: usize) -> Self::Landing;

    fn id(landing: &Self::Landing) -> Uuid;

    /// SQL condition on a row `t` of Traffic: Landing must have the row.
    fn must_be_on_landing(&self) -> String;

    /// SQL condition on a row `t` of Traffic: the row is never carried to Landing.
    fn stays_on_traffic(&self) -> String;

    /// Counts the differences, except for the number of rows.
    fn judge(&self, met: &Met<'_, Self::Landing>, found: &mut Comparison);
}

/// The rows with the smallest remaining key.
pub(super) enum Met<'r, L> {
    Landing(&'r L),
    Traffic(&'r HeldRow),
    Both(&'r L, &'r HeldRow),
}

impl<L> Met<'_, L> {
    /// Whether Landing, and whether Traffic, has a row with the key.
    pub(super) fn sides(&self) -> (bool, bool) {
        (!matches!(self, Met::Traffic(_)), !matches!(self, Met::Landing(_)))
    }
}

/// Compares the smallest remaining keys of the two sides; `None` after the last row. Keys ascend in byte
/// order, as PostgreSQL's do.
pub(super) fn meet<'r, E: Expectation>(
    landing: Option<&'r E::Landing>,
    traffic: Option<&'r HeldRow>,
) -> Option<Met<'r, E::Landing>> {
    Some(match (landing, traffic) {
        (None, None) => return None,
        (Some(ours), None) => Met::Landing(ours),
        (None, Some(theirs)) => Met::Traffic(theirs),
        (Some(ours), Some(theirs)) => match E::id(ours).cmp(&theirs.image.id) {
            Ordering::Less => Met::Landing(ours),
            Ordering::Equal => Met::Both(ours, theirs),
            Ordering::Greater => Met::Traffic(theirs),
        },
    })
}
