//! How far a `leadbridge verify` has come, so that another run can go on after an interruption.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::comparison::Comparison;
use super::ranges::Keys;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::postgres::Database;

/// Ranges of each table. An interruption loses the comparison of the ranges in hand, one for each worker.
const RANGES: u32 = 128;

/// The place of a comparison, shared by its workers.
#[derive(Debug, Default)]
pub struct Place(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    tables: BTreeMap<Table, TablePlace>,
    /// Everything that Landing committed before this position is compared, by the run that began the comparison and by
    /// every later one.
    since: Option<Lsn>,
    /// Whether an earlier run has begun the comparison.
    is_resumed: bool,
}

/// What is compared of one table, and what is left.
#[derive(Debug, Default)]
struct TablePlace {
    found: Comparison,
    left: VecDeque<Keys>,
    in_hand: Vec<Keys>,
}

/// The recorded form. Values of rows are not in it: the attribution of leads is counted by such values, so a resumed
/// comparison has none.
#[derive(Serialize, Deserialize)]
struct SavedPlace {
    since: Option<Lsn>,
    tables: Vec<SavedTable>,
}

#[derive(Serialize, Deserialize)]
struct SavedTable {
    table: Table,
    left: Vec<Keys>,
    /// As [`Comparison::counters`].
    counters: [u64; 11],
    suspects: Vec<Uuid>,
    changed: Vec<Uuid>,
    large: Vec<Uuid>,
}

impl Place {
    /// The position before which everything is compared: `now`, or an earlier run's.
    pub(super) fn begin_at(&self, now: Lsn) -> Lsn {
        *self.places().since.get_or_insert(now)
    }

    /// Begins a table, unless an earlier run has.
    pub(super) fn begin(&self, table: Table) {
        let of_table = || TablePlace { left: Keys::equal(RANGES), ..TablePlace::default() };
        self.places().tables.entry(table).or_insert_with(of_table);
    }

    /// The next range of a table, for one worker.
    pub(super) fn take(&self, table: Table) -> Option<Keys> {
        let mut places = self.places();
        let place = places.tables.get_mut(&table)?;
        let keys = place.left.pop_front()?;
        place.in_hand.push(keys);
        Some(keys)
    }

    /// A range is compared.
    pub(super) fn done(&self, table: Table, keys: Keys, found: Comparison) {
        if let Some(place) = self.places().tables.get_mut(&table) {
            place.in_hand.retain(|in_hand| *in_hand != keys);
            place.found.add(found);
        }
    }

    /// The result of a table, all of whose ranges are compared.
    pub(super) fn found(&self, table: Table) -> Comparison {
        self.places().tables.get(&table).map(|place| place.found.clone()).unwrap_or_default()
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.places().is_resumed
    }

    /// Landing rows compared so far, by all runs.
    pub fn rows(&self) -> u64 {
        self.places().tables.values().map(|place| place.found.landing_rows).sum()
    }

    /// Records the place on Traffic.
    ///
    /// # Errors
    /// Traffic cannot be written to.
    pub async fn save(&self, traffic: Database<'_>, basis: &str) -> Result<()> {
        let saved = self.saved();
        let text = serde_json::to_string(&saved).map_err(|error| Error::internal(error.to_string()))?;
        let sql = format!(
            "INSERT INTO {} (slot, basis, place) VALUES ($1, $2, $3) ON CONFLICT (slot) DO UPDATE \
             SET basis = EXCLUDED.basis, place = EXCLUDED.place, at = clock_timestamp()",
            traffic.names.own("interrupted_verify")
        );
        let step = traffic.during("recording how far the comparison has come, on Traffic");
        step.run(&sql, &[&traffic.names.slot, &basis, &text]).await.map(drop)
    }

    fn saved(&self) -> SavedPlace {
        let places = self.places();
        let tables = places.tables.iter().map(|(table, place)| place.saved(*table)).collect();
        SavedPlace { since: places.since, tables }
    }

    /// The recorded place.
    ///
    /// # Errors
    /// Refused where no interrupted comparison is recorded, or where its result says nothing any more.
    pub async fn read(traffic: Database<'_>, basis: &str) -> Result<Self> {
        let table = traffic.names.own("interrupted_verify");
        let sql = format!("SELECT basis, place FROM {table} WHERE slot = $1");
        let step = traffic.during("reading how far an earlier comparison has come, on Traffic");
        let again = message!("compare-remedy-again");
        let row = match step.finds(&table).await? {
            true => step.row_if_any(&sql, &[&traffic.names.slot]).await?,
            false => None,
        };
        let Some(row) = row else {
            return Err(Error::refused("no interrupted comparison is recorded on Traffic").remedy(again));
        };
        if row.get::<_, &str>(0) != basis {
            return Err(Error::refused(
                "since the comparison was interrupted, the rows were copied again, or leadbridge or its settings have changed",
            )
            .remedy(again));
        }
        let saved: SavedPlace = serde_json::from_str(row.get(1)).map_err(|_| {
            Error::refused("another version of leadbridge has recorded the interrupted comparison")
                .remedy(again)
        })?;
        let tables = saved.tables.into_iter().map(|saved| (saved.table, TablePlace::of(saved))).collect();
        Ok(Place(Mutex::new(Places { tables, since: saved.since, is_resumed: true })))
    }

    /// Forgets the recorded place, once a comparison has come to its end. Writes only where a place is recorded.
    ///
    /// # Errors
    /// Traffic cannot be read, or not be written to.
    pub async fn forget(traffic: Database<'_>) -> Result<()> {
        let table = traffic.names.own("interrupted_verify");
        let step = traffic.during("forgetting an interrupted comparison on Traffic");
        let recorded = format!("SELECT FROM {table} WHERE slot = $1");
        let slot = &traffic.names.slot;
        if step.finds(&table).await? && step.row_if_any(&recorded, &[slot]).await?.is_some() {
            step.run(&format!("DELETE FROM {table} WHERE slot = $1"), &[slot]).await?;
        }
        Ok(())
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TablePlace {
    fn saved(&self, table: Table) -> SavedTable {
        let mut found = self.found.clone();
        SavedTable {
            table,
            left: self.left.iter().chain(&self.in_hand).copied().collect(),
            counters: found.counters().map(|counter| *counter),
            suspects: found.suspects,
            changed: found.changed,
            large: found.large,
        }
    }

    fn of(saved: SavedTable) -> Self {
        let SavedTable { table, left, counters, suspects, changed, large } = saved;
        let mut found = Comparison { suspects, changed, large, ..Comparison::new(table) };
        for (counter, recorded) in found.counters().into_iter().zip(counters) {
            *counter = recorded;
        }
        TablePlace { found, left: left.into(), in_hand: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_in_hand_is_left_and_a_compared_one_is_not() {
        let place = Place::default();
        place.begin(Table::LandingLeads);
        let (done, in_hand) =
            (place.take(Table::LandingLeads).unwrap(), place.take(Table::LandingLeads).unwrap());
        let found = Comparison { landing_rows: 3, missing: 1, ..Comparison::new(Table::LandingLeads) };
        place.done(Table::LandingLeads, done, Comparison { suspects: vec![Uuid::max()], ..found });
        let saved = place.places().tables[&Table::LandingLeads].saved(Table::LandingLeads);
        assert!(saved.left.contains(&in_hand) && !saved.left.contains(&done));
        assert_eq!(saved.left.len(), RANGES as usize - 1);
        let again = TablePlace::of(saved);
        assert_eq!((again.found.landing_rows, again.found.missing), (3, 1));
        assert_eq!(again.found.suspects, [Uuid::max()]);
    }
}
