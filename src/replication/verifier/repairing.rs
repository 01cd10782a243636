//! Repairing rows that differ, through the applier of the running stream.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::super::Context;
use super::super::repair_desk::{RepairDone, RepairOrder};
use super::seat::Seat;
use crate::compare::repair::RepairSource;
use crate::error::{Error, Kind, Result};
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::wal;
use crate::quarantine::Quarantine;

/// Time for the transactions of Landing that are open to end, for the stream to pass them, and for the applier to write:
/// each.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of a portion.
enum Outcome {
    /// Rows written or deleted.
    Repaired(u64),
    /// Nothing was written.
    Not(String),
}

/// Which changes of a portion are carried out: leads are written before the rows that refer to them, and deleted after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Writes,
    Deletes,
}

/// Repairs all rows that are known to differ, but for the rows in quarantine. Counts the rows written or deleted in
/// `repaired`, also before an error. Returns why rows were left; `None` when each was handed to the applier.
///
/// # Errors
/// A database cannot be read, or the stream has ended.
pub async fn repair(context: &Context, seat: &Seat, repaired: &mut u64) -> Result<Option<String>> {
    let limit = context.config.verify.repair_rows;
    let differing = seat.record.counts().unexplained();
    if differing > limit as u64 {
        return Ok(Some(format!(
            "{differing} rows differ, more than {limit} ([verify] repair_rows): find out what has changed them; `leadbridge \
             resync` copies all rows again"
        )));
    }
    let databases = seat.databases(context);
    let mapping = seat.mapping(context).await?;
    let mut wanted = Vec::new();
    for &table in &context.tables {
        let mut ids: Vec<Uuid> = seat.record.differing(table).collect();
        let quarantined = Quarantine::among(databases.on(Side::Traffic), table, &ids).await?;
        ids.retain(|id| !quarantined.contains(id));
        if !ids.is_empty() {
            let source = RepairSource::open(&seat.landing, context.names(), mapping.of(table)).await?;
            wanted.push((table, source, ids));
        }
    }
    let passes =
        wanted.iter().map(|of| (Pass::Writes, of)).chain(wanted.iter().rev().map(|of| (Pass::Deletes, of)));
    for (pass, (table, source, ids)) in passes {
        for ids in source.portions(&context.config, ids).await? {
            match portion(context, seat, (*table, source), (pass, &ids)).await? {
                Outcome::Repaired(rows) => *repaired += rows,
                Outcome::Not(why) => return Ok(Some(why)),
            }
        }
    }
    Ok(None)
}

/// Hands rows over to the applier: watches them, reads them in a snapshot that sees everything streamed by then, and
/// leaves them once the stream has passed everything that the snapshot saw.
async fn portion(
    context: &Context,
    seat: &Seat,
    (table, source): (Table, &RepairSource<'_>),
    (pass, ids): (Pass, &[Uuid]),
) -> Result<Outcome> {
    let ended = || Error::new(Kind::Transient, "the stream has ended before rows were repaired");
    if !context.repairs.watch(table, ids) {
        return Err(ended());
    }
    let landing = seat.databases(context).on(Side::Landing);
    // Every transaction that was streamed before the watch has an id before this one.
    let step = landing.during("reading a transaction id of Landing");
    let next: String = step.row("SELECT pg_current_xact_id()::text", &[]).await?.get(0);
    match wal::until_over(landing, &next, LIMIT).await {
        Err(open) if open.kind() == Kind::Transient => return Ok(Outcome::Not(open.message())),
        over => over?,
    }
    let (writes, deletes) = source.changes(ids).await?;
    let changes = if pass == Pass::Writes { writes } else { deletes };
    if changes.is_empty() {
        return Ok(Outcome::Repaired(0));
    }
    let read_at = wal::committed_so_far(landing.client).await?;
    // From here on nobody waits for an answer of our sessions.
    seat.work.idle();
    let mut standing = context.progress.subscribe();
    // The value is let go at once, because it keeps the stream from reporting progress.
    let is_late = timeout(LIMIT, standing.wait_for(|at| at.applied() >= read_at)).await.is_err();
    if is_late {
        return Ok(Outcome::Not("the stream does not pass the rows in time".to_owned()));
    }
    let (done, written) = oneshot::channel();
    context.repairs.leave(RepairOrder { table, changes, done });
    let outcome = match timeout(LIMIT, written).await {
        Ok(Ok(RepairDone::Written(counts))) => Outcome::Repaired(counts.written + counts.deleted),
        Ok(Ok(RepairDone::Refused)) => Outcome::Not("a cutover or a rollback is under way".to_owned()),
        Ok(Err(_)) => return Err(ended()),
        Err(_) => Outcome::Not("a transaction of Landing is being applied for long".to_owned()),
    };
    seat.work.busy();
    Ok(outcome)
}
