//! The journal on Traffic: the state of each cutover and rollback.
//!
//! Every step is written by compare-and-set, in a transaction of its own or in the transaction that does the
//! step. Two sessions that disagree (a command that was thought dead, and the daemon that cleans up after the
//! command) cannot both succeed: an `aborted` cutover can never be `switched`, and a `switched` cutover can
//! never be `aborted`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::effects::HookState;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::operator;
use crate::postgres::Database;
use crate::postgres::advisory::{self, ExclusiveRight};
use crate::postgres::step::during;

/// Direction in which the leads move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Landing is fenced, and Traffic becomes the system of record.
    Cutover,
    /// Traffic is fenced, and Landing takes writes again.
    Rollback,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Cutover => "cutover",
            Direction::Rollback => "rollback",
        }
    }

    /// The side that is fenced.
    pub fn fenced(self) -> Side {
        match self {
            Direction::Cutover => Side::Landing,
            Direction::Rollback => Side::Traffic,
        }
    }

    /// The database that is fenced, and the database that takes the writes.
    pub fn sides(self) -> (&'static str, &'static str) {
        match self {
            Direction::Cutover => ("Landing", "Traffic"),
            Direction::Rollback => ("Traffic", "Landing"),
        }
    }

    /// The state after success.
    pub fn done(self) -> CutoverStep {
        match self {
            Direction::Cutover => CutoverStep::Switched,
            Direction::Rollback => CutoverStep::RolledBack,
        }
    }
}

/// One cutover or rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutoverRun {
    pub id: Uuid,
    pub direction: Direction,
}

/// State of a cutover or rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CutoverStep {
    /// Nothing is fenced yet.
    Started,
    /// No writer is in the tables, and no writer gets in.
    Fenced,
    /// Everything that was written before the fence is on the other side, proven by a marker.
    Drained,
    /// Both sides were found equal.
    Verified,
    /// Decided: Traffic is the system of record.
    Switched,
    /// Decided: Landing is the system of record again.
    RolledBack,
    /// Decided: the system of record stays the same.
    Aborted,
}

impl CutoverStep {
    const ALL: [CutoverStep; 7] = [
        CutoverStep::Started,
        CutoverStep::Fenced,
        CutoverStep::Drained,
        CutoverStep::Verified,
        CutoverStep::Switched,
        CutoverStep::RolledBack,
        CutoverStep::Aborted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            CutoverStep::Started => "started",
            CutoverStep::Fenced => "fenced",
            CutoverStep::Drained => "drained",
            CutoverStep::Verified => "verified",
            CutoverStep::Switched => "switched",
            CutoverStep::RolledBack => "rolled_back",
            CutoverStep::Aborted => "aborted",
        }
    }

    pub fn is_decided(self) -> bool {
        matches!(self, CutoverStep::Switched | CutoverStep::RolledBack | CutoverStep::Aborted)
    }

    /// The only step that may come before; `None` for a step without a fixed predecessor.
    pub fn before(self) -> Option<CutoverStep> {
        match self {
            CutoverStep::Fenced => Some(CutoverStep::Started),
            CutoverStep::Drained => Some(CutoverStep::Fenced),
            CutoverStep::Verified => Some(CutoverStep::Drained),
            CutoverStep::Switched | CutoverStep::RolledBack => Some(CutoverStep::Verified),
            CutoverStep::Started | CutoverStep::Aborted => None,
        }
    }
}

impl fmt::Display for CutoverStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A row of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalEntry {
    pub id: Uuid,
    pub direction: Direction,
    pub state: CutoverStep,
    /// The fence of this entry was lifted, or the entry leaves no fence.
    pub is_lifted: bool,
    pub hook: HookState,
    /// How long Traffic refuses writers after a rollback.
    pub refuse_for: Duration,
}

impl JournalEntry {
    pub fn run(&self) -> CutoverRun {
        CutoverRun { id: self.id, direction: self.direction }
    }
}

const TAKING: &str = "taking the cutover's lock on Traffic";
const WRITING: &str = "writing the cutover's journal on Traffic";
pub(super) const READING: &str = "reading the cutover's journal on Traffic";

/// Seconds after the deadline in which a living command aborts by itself.
const OVERDUE: u32 = 10;

/// The undecided states, as an SQL condition.
const UNDECIDED: &str = "state IN ('started', 'fenced', 'drained', 'verified')";

/// The journal of one installation.
#[derive(Clone, Debug)]
pub struct CutoverJournal {
    table: String,
    slot: String,
    lock: String,
}

impl CutoverJournal {
    pub fn new(names: &Names) -> Self {
        let lock = ExclusiveRight::Decision.key(names);
        CutoverJournal { table: names.own("cutover"), slot: names.slot.clone(), lock }
    }

    /// Takes the right to decide, for the lifetime of the session. Returns false when another session has the
    /// right.
    pub async fn take(&self, traffic: &Client) -> Result<bool> {
        advisory::take(traffic, &self.lock, TAKING).await
    }

    /// Like [`Self::take`], with attempts for two seconds: from time to time the daemon has the right for a
    /// moment, and so has the session of a command that was just killed.
    pub async fn take_soon(&self, traffic: &Client) -> Result<bool> {
        advisory::take_within(traffic, &self.lock, TAKING, Duration::from_secs(2)).await
    }

    /// Ends the session that has the right to decide, if the deadline is over of a cutover or rollback that is
    /// undecided or not lifted: a command that hangs would keep everybody from resolving it. The command cannot
    /// decide any more, because no step is reached after the deadline.
    ///
    /// # Errors
    /// Refused when a session that is not leadbridge's has the right.
    pub async fn end_overdue(&self, traffic: Database<'_>) -> Result<()> {
        let holders = advisory::own_holders(traffic, ExclusiveRight::Decision).await?;
        let Some(pid) = holders.first().and_then(|holder| holder.pid) else { return Ok(()) };
        let sql = format!(
            "SELECT pg_terminate_backend($2) WHERE EXISTS (SELECT FROM {} WHERE slot = $1 AND ({UNDECIDED} \
             OR (lifted_at IS NULL AND state IN ('aborted', 'rolled_back'))) AND deadline + interval '{OVERDUE} s' < clock_timestamp())",
            self.table
        );
        let step = traffic.during("ending the session of an overdue cutover");
        if step.row_if_any(&sql, &[&self.slot, &pid]).await?.is_some() {
            tracing::warn!(
                pid,
                "the command of a cutover or rollback hangs beyond its deadline: its session is ended"
            );
        }
        Ok(())
    }

    pub async fn give_back(&self, traffic: &Client) -> Result<()> {
        advisory::give_back(traffic, &self.lock, "giving back the cutover's lock on Traffic").await
    }

    /// Records that a cutover or rollback begins, the deadline of the decision, and how long Traffic refuses
    /// writers after a rollback.
    pub async fn begin(
        &self,
        traffic: &Client,
        run: CutoverRun,
        (within, refuse_for): (Duration, Duration),
    ) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} (id, slot, direction, state, deadline, refuse_for, operator, leadbridge_version) VALUES \
             ($1, $2, $3, 'started', clock_timestamp() + make_interval(secs => $4), make_interval(secs => $5), $6, $7)",
            self.table
        );
        let operator = operator::name();
        let version = env!("CARGO_PKG_VERSION");
        let (within, refuse_for) = (within.as_secs_f64(), refuse_for.as_secs_f64());
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&run.id, &self.slot, &run.direction.as_str(), &within, &refuse_for, &operator, &version];
        during(traffic, WRITING).run(&sql, &parameters).await.map(drop)
    }

    /// Records the next step, if the journal has the step before and its deadline has not passed.
    ///
    /// # Errors
    /// Refused when the journal has another state, because the daemon or another command has aborted the
    /// cutover, and after the deadline.
    pub async fn reach(&self, traffic: &Client, id: Uuid, step: CutoverStep) -> Result<()> {
        let before = step.before().map_or("", CutoverStep::as_str);
        let at = match step {
            CutoverStep::Switched | CutoverStep::RolledBack => "finished",
            _ => step.as_str(),
        };
        let sql = format!(
            "UPDATE {} SET state = $3, {at}_at = clock_timestamp() \
             WHERE id = $1 AND state = $2 AND deadline > clock_timestamp()",
            self.table
        );
        match during(traffic, WRITING).run(&sql, &[&id, &before, &step.as_str()]).await? {
            1 => Ok(()),
            _ => {
                let found = self.entry(traffic, id).await?;
                let found = found.map_or("gone".to_owned(), |entry| entry.state.to_string());
                if found == before {
                    return Err(Error::refused("the deadline has passed (--timeout)")
                        .remedy(message!("error-remedy-more-time")));
                }
                Err(Error::refused(format!("its state in the journal on Traffic is {found}, not {before}"))
                    .remedy(message!("cutover-remedy-decided-elsewhere")))
            }
        }
    }

    /// Sets columns of an entry, whatever its state.
    pub(super) async fn note(&self, traffic: &Client, id: Uuid, what: &str) -> Result<()> {
        let sql = format!("UPDATE {} SET {what} WHERE id = $1", self.table);
        during(traffic, WRITING).run(&sql, &[&id]).await.map(drop)
    }

    /// Decides that the system of record stays the same. Returns false when the cutover was decided before.
    pub async fn abort(&self, traffic: &Client, id: Uuid, reason: &str) -> Result<bool> {
        let sql = format!(
            "UPDATE {} SET state = 'aborted', finished_at = clock_timestamp(), reason = $2 \
             WHERE id = $1 AND {UNDECIDED}",
            self.table
        );
        Ok(during(traffic, WRITING).run(&sql, &[&id, &reason]).await? == 1)
    }

    /// Records that the fence of this cutover or rollback, on Landing or on Traffic, is lifted.
    pub async fn lifted(&self, traffic: &Client, id: Uuid) -> Result<()> {
        self.note(traffic, id, "lifted_at = coalesce(lifted_at, clock_timestamp())").await
    }

    pub async fn certify(&self, traffic: &Client, id: Uuid, certificate: &serde_json::Value) -> Result<()> {
        let sql = format!("UPDATE {} SET certificate = $2::text::jsonb WHERE id = $1", self.table);
        let step = during(traffic, "writing the certificate on Traffic");
        step.run(&sql, &[&id, &certificate.to_string()]).await.map(drop)
    }

    pub async fn entry(&self, traffic: &Client, id: Uuid) -> Result<Option<JournalEntry>> {
        let rows = self.read(traffic, "AND id = $2", &[&self.slot, &id]).await?;
        Ok(rows.into_iter().next())
    }

    /// Cutovers and rollbacks that were begun and not brought to an end: undecided, with a fence that is still
    /// to be lifted, or aborted with a hook that is still to be undone. Normally none.
    pub async fn unresolved(&self, traffic: &Client) -> Result<Vec<JournalEntry>> {
        let sql = format!(
            "AND ({UNDECIDED} OR (lifted_at IS NULL AND state IN ('aborted', 'rolled_back')) \
             OR (state = 'aborted' AND hook_begun_at IS NOT NULL AND hook_undone_at IS NULL)) ORDER BY started_at"
        );
        self.read(traffic, &sql, &[&self.slot]).await
    }

    /// The newest cutover or rollback.
    pub async fn newest(&self, traffic: &Client) -> Result<Option<JournalEntry>> {
        let rows = self.read(traffic, "ORDER BY started_at DESC LIMIT 1", &[&self.slot]).await?;
        Ok(rows.into_iter().next())
    }

    async fn read(
        &self,
        traffic: &Client,
        which: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<JournalEntry>> {
        let sql = format!(
            "SELECT id, direction, state, lifted_at IS NOT NULL, {hook}, \
                    coalesce(extract(epoch FROM refuse_for), 0)::float8 \
             FROM {} WHERE slot = $1 {which}",
            self.table,
            hook = HookState::SQL
        );
        during(traffic, READING).rows(&sql, parameters).await?.iter().map(entry).collect()
    }
}

/// The step that an undecided cutover or rollback of `unresolved` has reached, from the fence on.
pub fn fenced_step(unresolved: &[JournalEntry]) -> Option<CutoverStep> {
    let fenced = [CutoverStep::Fenced, CutoverStep::Drained, CutoverStep::Verified];
    unresolved.iter().map(|entry| entry.state).find(|state| fenced.contains(state))
}

fn entry(row: &Row) -> Result<JournalEntry> {
    let (direction, state): (&str, &str) = (row.get(1), row.get(2));
    let directions = [Direction::Cutover, Direction::Rollback];
    let direction = directions.into_iter().find(|known| known.as_str() == direction);
    let state = CutoverStep::ALL.into_iter().find(|known| known.as_str() == state);
    let (Some(direction), Some(state)) = (direction, state) else {
        return Err(Error::internal(
            "the cutover's journal on Traffic holds a state that this version does not know",
        ));
    };
    Ok(JournalEntry {
        id: row.get(0),
        direction,
        state,
        is_lifted: row.get(3),
        hook: HookState::of(row.get(4)),
        refuse_for: Duration::from_secs_f64(row.get::<_, f64>(5).max(0.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_a_decision_leads_through_fence_drain_and_proof() {
        for direction in [Direction::Cutover, Direction::Rollback] {
            let mut way = vec![direction.done()];
            while let Some(before) = way.last().and_then(|step| step.before()) {
                way.push(before);
            }
            way.reverse();
            let end = direction.done();
            assert_eq!(
                way,
                [CutoverStep::Started, CutoverStep::Fenced, CutoverStep::Drained, CutoverStep::Verified, end]
            );
            assert!(way.iter().all(|step| step.is_decided() == (*step == end)));
        }
    }
}
