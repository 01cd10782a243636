//! A few rows, each judged apart: for the explanation of one lead.
//!
//! The comparison and its expectations are those of [`compare`](super::compare) and
//! [`reverse::compare`](super::reverse::compare). A row that differs is judged once more when the stream has passed
//! every change that the source had committed; a row that the source has changed again meanwhile is on its way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::comparison::{Comparison, Difference};
use super::merge::Expectation;
use super::{ComparedSides, recheck};
use crate::checkpoint::Reverse;
use crate::error::Result;
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::{Databases, slot, wal};

/// Pause between two reads of the position applied.
const LOOK: Duration = Duration::from_millis(20);

/// How the rows of one key stand to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "differs")]
pub enum RowState {
    /// The target has the row as the source's row demands.
    Equal,
    /// Equal except for a later `updated_at` on the target.
    Touched,
    /// A change made on Traffic stays in the listed columns: see [`Difference::Changed`].
    Changed(Vec<Cow<'static, str>>),
    /// Unequal values in the listed columns of the target's table.
    Different(Vec<Cow<'static, str>>),
    /// Not on the target.
    Missing,
    /// Not on the source any more.
    Extra,
    /// Traffic's columns cannot hold the row.
    Refused,
    /// No row, or a row that the direction does not carry: born on Traffic.
    NotCarried,
}

impl RowState {
    /// The state of the only key that was compared.
    fn of(found: &Comparison) -> Self {
        match found.examples.first().map(|example| &example.difference) {
            Some(Difference::Missing) => RowState::Missing,
            Some(Difference::Extra) => RowState::Extra,
            Some(Difference::Different(columns)) => RowState::Different(columns.clone()),
            Some(Difference::Changed(columns)) => RowState::Changed(columns.clone()),
            None if found.refused > 0 => RowState::Refused,
            None if found.stamped > 0 => RowState::Touched,
            None if found.landing_rows * found.traffic_rows > 0 && found.elsewhere == 0 => RowState::Equal,
            None => RowState::NotCarried,
        }
    }

    /// Whether the row counts as a difference, as `verify` counts.
    pub fn is_difference(&self) -> bool {
        matches!(self, RowState::Different(_) | RowState::Missing | RowState::Extra | RowState::Refused)
    }

    /// Whether a later change of the source may make the row equal.
    fn is_unlike(&self) -> bool {
        self.is_difference() || matches!(self, RowState::Changed(_))
    }
}

/// A row, with the state that was found last.
#[derive(Clone, Debug, Serialize)]
pub struct SettledRow {
    pub id: Uuid,
    #[serde(flatten)]
    pub state: RowState,
    /// The row differs, and a change of the source may be on its way to the target.
    pub on_its_way: bool,
}

/// How the rows with these keys stand. `source` is the system of record: its rows are carried to the other side.
/// Waits until `deadline` at most for the stream to pass rows that differ.
///
/// # Errors
/// As [`compare`](super::compare) and [`reverse::compare`](super::reverse::compare).
pub async fn settled(
    databases: Databases<'_>,
    source: Side,
    (table, ids): (Table, &[Uuid]),
    deadline: Instant,
) -> Result<Vec<SettledRow>> {
    match source {
        Side::Landing => ComparedSides::forward(databases, table).await?.settled(source, ids, deadline).await,
        Side::Traffic => ComparedSides::reverse(databases, table).await?.settled(source, ids, deadline).await,
    }
}

/// The position of the source up to which the other side has everything; `None` before the first copy is complete.
///
/// # Errors
/// Traffic cannot be read.
async fn applied(databases: Databases<'_>, source: Side) -> Result<Option<Lsn>> {
    match source {
        Side::Landing => recheck::applied(databases.on(Side::Traffic)).await,
        Side::Traffic => {
            let reverse = Reverse::read(databases.traffic, databases.names).await?;
            Ok(reverse.map(|reverse| reverse.applied))
        }
    }
}

impl<E: Expectation> ComparedSides<'_, E> {
    async fn settled(&self, source: Side, ids: &[Uuid], deadline: Instant) -> Result<Vec<SettledRow>> {
        let before = self.versions(source, ids).await?;
        let mut rows = self.states(ids).await?;
        let unlike: Vec<Uuid> = rows.iter().filter(|row| row.state.is_unlike()).map(|row| row.id).collect();
        if unlike.is_empty() {
            return Ok(rows);
        }
        let passed = until_passed(self.databases, source, deadline).await?;
        let again = self.states(&unlike).await?;
        let after = self.versions(source, &unlike).await?;
        for mut found in again {
            let has_moved = before.get(&found.id) != after.get(&found.id);
            found.on_its_way = found.state.is_unlike() && (!passed || has_moved);
            if let Some(row) = rows.iter_mut().find(|row| row.id == found.id) {
                *row = found;
            }
        }
        Ok(rows)
    }

    /// Each row's state at this moment.
    async fn states(&self, ids: &[Uuid]) -> Result<Vec<SettledRow>> {
        let mut states = Vec::with_capacity(ids.len());
        for portion in self.portions(ids).await? {
            let (ours, theirs) = tokio::try_join!(self.landing_rows(&portion), self.traffic_rows(&portion))?;
            for id in portion {
                let ours = ours.iter().find(|row| E::id(row) == id);
                let theirs = theirs.iter().find(|row| row.image.id == id);
                let (ours, theirs) = (ours.map(std::slice::from_ref), theirs.map(std::slice::from_ref));
                let mut found = self.nothing_yet();
                found.count_all(&self.expectation, ours.unwrap_or_default(), theirs.unwrap_or_default());
                states.push(SettledRow { id, state: RowState::of(&found), on_its_way: false });
            }
        }
        Ok(states)
    }

    /// What tells a version of a row of the source from every other version of the row.
    async fn versions(&self, source: Side, ids: &[Uuid]) -> Result<HashMap<Uuid, (String, String)>> {
        let (database, table) = (self.databases.on(source), self.layout.table());
        let sql = format!(
            "SELECT t.id, t.xmin::text, t.ctid::text FROM {} AS t WHERE t.id = ANY ($1)",
            database.table(table)
        );
        let step = database.during(format!("reading versions of rows on {}", source.name()));
        let rows = step.rows(&sql, &[&ids]).await?;
        Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
    }
}

/// Whether the stream passes, before `deadline`, everything that the source has committed by now. Nobody waits
/// for a stream that does not run.
async fn until_passed(databases: Databases<'_>, source: Side, deadline: Instant) -> Result<bool> {
    let names = databases.names;
    let slot_name = names.slot_on(source);
    let goal = wal::committed_so_far(databases.on(source).client).await?;
    loop {
        if applied(databases, source).await?.is_some_and(|at| at >= goal) {
            return Ok(true);
        }
        let slot = slot::read(databases.on(source).client, &slot_name).await?;
        if Instant::now() >= deadline || !slot.is_some_and(|slot| slot.active) {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(change: impl FnOnce(&mut Comparison)) -> RowState {
        let mut found = Comparison::new(Table::LandingLeads);
        change(&mut found);
        RowState::of(&found)
    }

    #[test]
    fn the_counts_of_one_key_give_its_state() {
        let id = Uuid::nil();
        assert_eq!(compared(|_| {}), RowState::NotCarried);
        assert_eq!(compared(|found| (found.landing_rows, found.traffic_rows) = (1, 1)), RowState::Equal);
        assert_eq!(compared(|found| (found.traffic_rows, found.elsewhere) = (1, 1)), RowState::NotCarried);
        assert_eq!(compared(|found| found.stamped = 1), RowState::Touched);
        assert_eq!(compared(|found| found.refused = 1), RowState::Refused);
        for (difference, state) in [
            (Difference::Missing, RowState::Missing),
            (Difference::Extra, RowState::Extra),
            (Difference::Different(vec!["name".into()]), RowState::Different(vec!["name".into()])),
            (Difference::Changed(vec!["metadata".into()]), RowState::Changed(vec!["metadata".into()])),
        ] {
            assert_eq!(compared(|found| found.note(id, difference.clone())), state);
        }
    }
}
