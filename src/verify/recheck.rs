//! Looking again at rows that differed: on two live databases most of them were in flight.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use super::comparison::{Comparison, ExpectedRow, HeldRow, Next, meet};
use super::pages::{Keys, PAGE};
use super::{Expected, Held, Sides};
use crate::error::{Error, Result};
use crate::landing::catalog;
use crate::lsn::Lsn;
use crate::names::Names;

/// How often it is looked how far the stream is.
const LOOK: Duration = Duration::from_millis(50);
/// How often a row is looked at again that Landing changes while we look.
const ROUNDS: u32 = 5;

/// What is left of the rows that differed.
pub(super) struct Settled {
    pub comparison: Comparison,
    /// Rows that Landing changed again each time they were looked at: nothing is known of them.
    pub moving: u64,
    /// The stream has passed what was read, so what differs is no longer on its way.
    pub passed: bool,
}

impl Sides<'_> {
    /// Compares the rows with these keys until each is equal, or differs although the stream has passed it.
    pub(super) async fn recheck(&self, mut ids: Vec<Uuid>, patience: Duration) -> Result<Settled> {
        ids.sort_unstable();
        let mut settled = Settled { comparison: Comparison::new(self.table), moving: 0, passed: true };
        // Most were in flight a moment ago and are equal by now: nobody has to wait for those.
        let mut later = Vec::new();
        for page in ids.chunks(PAGE) {
            let (found, _) = self.look(page, None).await?;
            later.extend_from_slice(&found.suspects);
            settled.comparison.add(found.without_suspects());
        }
        let deadline = Instant::now() + patience;
        for round in 0..ROUNDS {
            let mut moving = Vec::new();
            for page in later.chunks(PAGE) {
                let look = Waiting { deadline, passed: &mut settled.passed };
                let (found, moved) = self.look(page, Some(look)).await?;
                settled.comparison.add(found);
                moving.extend(moved);
            }
            later = moving;
            if later.is_empty() {
                break;
            }
            if round + 1 == ROUNDS || !settled.passed {
                settled.moving = later.len() as u64;
                break;
            }
        }
        Ok(settled)
    }

    /// Compares a page of rows. With `waiting` Traffic is read once the stream has passed what was read of Landing,
    /// and rows that Landing has changed since are left out and answered.
    async fn look(&self, ids: &[Uuid], waiting: Option<Waiting<'_>>) -> Result<(Comparison, Vec<Uuid>)> {
        let these = || Keys::These(ids.to_vec());
        let mut expected = collect_expected(self.expected(these())).await?;
        let mut moved = Vec::new();
        let mut held;
        match waiting {
            None => held = collect_held(self.held(these())).await?,
            Some(waiting) => {
                let read_at = catalog::committed_so_far(self.landing).await?;
                waiting.until_applied(self, read_at).await?;
                held = collect_held(self.held(these())).await?;
                let now = collect_expected(self.expected(these())).await?;
                let find = |rows: &[ExpectedRow], id: Uuid| rows.iter().position(|row| row.id == id);
                let same = |id: &Uuid| {
                    let (before, after) = (find(&expected, *id), find(&now, *id));
                    before.map(|at| &expected[at]) == after.map(|at| &now[at])
                };
                moved = ids.iter().copied().filter(|id| !same(id)).collect();
                expected.retain(|row| !moved.contains(&row.id));
                held.retain(|row| !moved.contains(&row.id));
            }
        }
        let mut comparison = Comparison::new(self.table);
        let (mut left, mut right) = (expected.iter().peekable(), held.iter().peekable());
        loop {
            match meet(&mut comparison, left.peek().copied(), right.peek().copied()) {
                Next::Landing => _ = left.next(),
                Next::Traffic => _ = right.next(),
                Next::Both => _ = (left.next(), right.next()),
                Next::End => return Ok((comparison, moved)),
            }
        }
    }
}

/// Until when it is waited for the stream, and whether that was in vain.
struct Waiting<'w> {
    deadline: Instant,
    passed: &'w mut bool,
}

impl Waiting<'_> {
    async fn until_applied(self, sides: &Sides<'_>, read_at: Lsn) -> Result<()> {
        while *self.passed && applied(sides.traffic, sides.names).await?.is_none_or(|at| at < read_at) {
            if Instant::now() >= self.deadline {
                *self.passed = false;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// The position that Traffic's checkpoint has reached; `None` when there is none, or while a snapshot is copied.
pub(super) async fn applied(traffic: &tokio_postgres::Client, names: &Names) -> Result<Option<Lsn>> {
    let sql = format!(
        "SELECT applied_lsn FROM {} WHERE slot = $1 AND state <> 'snapshot'",
        names.own("checkpoint")
    );
    let row = traffic.query_opt(&sql, &[&names.slot]).await;
    let row = row.map_err(|error| Error::database("reading the checkpoint on Traffic", &error))?;
    Ok(row.and_then(|row| row.get::<_, Option<PgLsn>>(0)).map(Lsn::from))
}

async fn collect_expected(mut rows: Expected<'_>) -> Result<Vec<ExpectedRow>> {
    let mut collected = Vec::new();
    while let Some(row) = rows.next().await? {
        collected.push(row);
    }
    Ok(collected)
}

async fn collect_held(mut rows: Held<'_>) -> Result<Vec<HeldRow>> {
    let mut collected = Vec::new();
    while let Some(row) = rows.next().await? {
        collected.push(row);
    }
    Ok(collected)
}
