//! A second comparison of differing rows: between two live databases most differing rows are in flight.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use super::ComparedSides;
use super::comparison::Comparison;
use super::forward::{ByMapping, ExpectedRow};
use super::merge::HeldRow;
use crate::error::Result;
use crate::model::lsn::Lsn;
use crate::model::side::Side;
use crate::postgres::{Database, slot, wal};

/// Pause between two reads of Traffic's checkpoint, and between two comparisons of a row that Landing keeps
/// changing.
const LOOK: Duration = Duration::from_millis(50);

/// A moving stream usually ends a wait within this time; a shorter wait is not logged.
const SHORT: Duration = Duration::from_secs(1);

/// Result of a recheck.
pub(super) struct Settled {
    pub comparison: Comparison,
    /// Rows that Landing had changed again at every comparison, so that nothing is known of them.
    pub moving: u64,
    /// The stream has passed every position that was read, so a difference is not a change on its way.
    pub passed: bool,
}

impl ComparedSides<'_, ByMapping> {
    /// Compares the rows with the given keys until each row is equal, or differs although the stream has
    /// passed the row. Logs a long wait for the operator of a command.
    pub(super) async fn recheck(&self, ids: Vec<Uuid>, patience: Duration) -> Result<Settled> {
        self.settled_by(ids, patience, false).await
    }

    /// As [`ComparedSides::recheck`], without a word about a wait, because nobody waits for the result.
    pub(super) async fn recheck_quietly(&self, ids: Vec<Uuid>, patience: Duration) -> Result<Settled> {
        self.settled_by(ids, patience, true).await
    }

    /// `told`: whether a wait needs no log line.
    async fn settled_by(&self, mut ids: Vec<Uuid>, patience: Duration, mut told: bool) -> Result<Settled> {
        ids.sort_unstable();
        let mut settled = Settled { comparison: self.nothing_yet(), moving: 0, passed: true };
        // Most rows were in flight a moment ago and are equal by now, so the first comparison does not wait
        // for the stream.
        let mut later = Vec::new();
        for page in self.portions(&ids).await? {
            let (found, _) = self.look(&page, None).await?;
            later.extend(found.unlike());
            settled.comparison.add(found.without_suspects());
        }
        let deadline = Instant::now() + patience;
        while !later.is_empty() {
            let mut moving = Vec::new();
            for page in self.portions(&later).await? {
                let look = Waiting { deadline, passed: &mut settled.passed, told: &mut told };
                let (found, moved) = self.look(&page, Some(look)).await?;
                settled.comparison.add(found);
                moving.extend(moved);
            }
            later = moving;
            if Instant::now() >= deadline || !settled.passed {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        settled.moving = later.len() as u64;
        Ok(settled)
    }

    /// Compares a page of rows. With `waiting`, Traffic is read once the stream has passed the position at
    /// which Landing was read. Rows that Landing has changed since are left out of the comparison and
    /// returned, because nothing is known of them.
    async fn look(&self, ids: &[Uuid], waiting: Option<Waiting<'_>>) -> Result<(Comparison, Vec<Uuid>)> {
        let mut before = self.landing_rows(ids).await?;
        let Some(waiting) = waiting else {
            let held = self.traffic_rows(ids).await?;
            return Ok((self.expectation.compare(&before, &held), Vec::new()));
        };
        let read_at = wal::committed_so_far(self.databases.landing).await?;
        waiting.until_applied(self, read_at).await?;
        let mut held = self.traffic_rows(ids).await?;
        let after = self.landing_rows(ids).await?;
        let moving = self.expectation.take_what_moved(&mut before, after, &held);
        before.retain(|row| !moving.contains(&row.id));
        held.retain(|row| !moving.contains(&row.image.id));
        Ok((self.expectation.compare(&before, &held), moving))
    }
}

impl ByMapping {
    /// Handles the rows that Landing has changed during the comparison. Where Traffic holds the image in
    /// `after`, that image replaces the image in `before`. Returns the rows of which Traffic holds neither
    /// image, because Traffic may hold an image that Landing had in between.
    fn take_what_moved(
        &self,
        before: &mut Vec<ExpectedRow>,
        after: Vec<ExpectedRow>,
        held: &[HeldRow],
    ) -> Vec<Uuid> {
        let (old, new) = (self.compare(before, held).unlike(), self.compare(&after, held).unlike());
        let mut after: HashMap<Uuid, ExpectedRow> = after.into_iter().map(|row| (row.id, row)).collect();
        let mut moving = Vec::new();
        for id in old {
            let at = before.iter().position(|row| row.id == id);
            let now = after.remove(&id);
            if at.and_then(|at| before.get(at)) == now.as_ref() {
                continue; // Landing has not changed the row: the row differs.
            }
            if new.contains(&id) {
                moving.push(id);
                continue;
            }
            if let Some(at) = at {
                before.remove(at);
            }
            before.extend(now);
        }
        before.sort_unstable_by_key(|row| row.id);
        moving
    }
}

/// The deadline of waits for the stream, and whether such a wait has failed.
struct Waiting<'w> {
    deadline: Instant,
    passed: &'w mut bool,
    /// Whether a wait has been logged.
    told: &'w mut bool,
}

impl Waiting<'_> {
    async fn until_applied(self, sides: &ComparedSides<'_, ByMapping>, read_at: Lsn) -> Result<()> {
        let began = Instant::now();
        while *self.passed {
            let at = applied(sides.databases.on(Side::Traffic)).await?;
            if at.is_some_and(|at| at >= read_at) {
                break;
            }
            if Instant::now() >= self.deadline {
                *self.passed = false;
                break;
            }
            if !*self.told {
                let slot = slot::read(sides.databases.landing, &sides.databases.names.slot).await?;
                let streams = slot.is_some_and(|slot| slot.active);
                if !streams || began.elapsed() >= SHORT {
                    *self.told = true;
                    self.tell(sides, at, read_at, streams);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Logs the reason of the wait and its deadline for the operator.
    fn tell(&self, sides: &ComparedSides<'_, ByMapping>, at: Option<Lsn>, read_at: Lsn, streams: bool) {
        let (table, slot) = (&sides.layout.name, &sides.databases.names.slot);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let until = jiff::Timestamp::now().checked_add(left).map_or_else(
            |_| "it has passed".to_owned(),
            |until| format!("{}", until.strftime("%H:%M:%S UTC")),
        );
        let at = at.map_or_else(|| "nowhere yet".to_owned(), |at| format!("at {at}"));
        let daemon = match streams {
            true => String::new(),
            false => {
                format!("; no session streams from the slot `{slot}`: start the daemon (`leadbridge run`)")
            }
        };
        tracing::warn!(
            "rows of {table} differ and may be on their way: waiting until Traffic's checkpoint, {at}, has passed \
             {read_at}, or until {until} (--wait){daemon}"
        );
    }
}

/// The position of Traffic's checkpoint; `None` without a checkpoint, or during the initial copy.
pub(super) async fn applied(traffic: Database<'_>) -> Result<Option<Lsn>> {
    let sql = format!(
        "SELECT applied_lsn FROM {} WHERE slot = $1 AND state <> 'snapshot'",
        traffic.names.own("checkpoint")
    );
    let step = traffic.during("reading the checkpoint on Traffic");
    let row = step.row_if_any(&sql, &[&traffic.names.slot]).await?;
    Ok(row.and_then(|row| row.get::<_, Option<PgLsn>>(0)).map(Lsn::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::inverse::TrafficImage;
    use crate::mapping::{Mapping, TrafficRow, known_targets};
    use crate::model::change::Table;

    const TABLE: Table = Table::LeadJourney;

    /// A row in which every value is `value`.
    fn expected(value: &str) -> ExpectedRow {
        let values = vec![Some(value.to_owned().into()); known_targets(TABLE).len()];
        let row = Some(TrafficRow { id: Uuid::nil(), values, notes: Vec::new() });
        ExpectedRow { id: Uuid::nil(), row, may_be_unsent: false }
    }

    fn held(value: &str) -> HeldRow {
        let values = vec![Some(value.to_owned().into()); known_targets(TABLE).len()];
        let image = TrafficImage { table: TABLE, id: Uuid::nil(), values };
        HeldRow { image, must_be_on_landing: true, stays_on_traffic: false }
    }

    /// The result for one row: the number of differences, and of rows that Landing keeps changing.
    fn judged(before: Option<&str>, after: Option<&str>, on_traffic: Option<&str>) -> (u64, usize) {
        let rows = |value: Option<&str>| value.map(expected).into_iter().collect::<Vec<_>>();
        let (mut before, mut held) = (rows(before), on_traffic.map(held).into_iter().collect::<Vec<_>>());
        let expectation = ByMapping::new(Mapping::whole().of(TABLE), &[]);
        let moving = expectation.take_what_moved(&mut before, rows(after), &held);
        before.retain(|row| !moving.contains(&row.id));
        held.retain(|row| !moving.contains(&row.image.id));
        (expectation.compare(&before, &held).differences(), moving.len())
    }

    #[test]
    fn a_row_that_landing_left_alone_differs_or_is_equal() {
        assert_eq!(judged(Some("a"), Some("a"), Some("a")), (0, 0));
        assert_eq!(judged(Some("a"), Some("a"), Some("b")), (1, 0));
        assert_eq!(judged(Some("a"), Some("a"), None), (1, 0));
        assert_eq!(judged(None, None, Some("a")), (1, 0));
    }

    #[test]
    fn a_row_that_landing_changed_is_equal_when_traffic_holds_it_as_it_was_or_as_it_is() {
        assert_eq!(judged(Some("a"), Some("b"), Some("a")), (0, 0));
        assert_eq!(judged(Some("a"), Some("b"), Some("b")), (0, 0));
        assert_eq!(judged(Some("a"), None, None), (0, 0));
        assert_eq!(judged(None, Some("a"), Some("a")), (0, 0));
    }

    #[test]
    fn of_a_row_that_landing_changed_and_traffic_holds_in_another_form_nothing_is_known() {
        assert_eq!(judged(Some("a"), Some("c"), Some("b")), (0, 1));
        assert_eq!(judged(Some("a"), Some("b"), None), (0, 1));
        assert_eq!(judged(Some("a"), None, Some("b")), (0, 1));
    }
}
