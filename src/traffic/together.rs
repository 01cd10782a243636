//! Rows that wait for each other's unique values: refused one by one, and valid as a set.

use std::collections::HashSet;

use uuid::Uuid;

use super::apply::{RangeAttempt, RangeResult, apply_range};
use super::upserts::{columns_of, map_rows};
use super::writer::{RANGE, Supplied, Writer, writing};
use crate::batch::bisect::{Bisection, middle};
use crate::batch::{PlanStep, Write, plan};
use crate::error::{Result, row_refusal};
use crate::model::change::{Origin, SourcedChange, Table};
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::unique::{self, COLLISIONS, Filler, LARGEST_SET};
use crate::postgres::write::Savepoint;

/// Undoes a range of a set.
const MEMBER: Savepoint = Savepoint(Side::Traffic, "member");

/// The leads written with a set, or else the keys of the rows refused although no row of the set is in the
/// way. No keys if the set cannot give up its values.
type SetResult = std::result::Result<Vec<Uuid>, HashSet<(Table, Uuid)>>;

/// Tries to write the rows waiting in quarantine for a unique value as a set, after a row has joined them.
/// Leaves out the rows refused even then, and tries the rest again. Returns the leads written.
pub(super) async fn apply(writer: &mut Writer, last: Origin) -> Result<Vec<Uuid>> {
    let (quarantine, session) = (&writer.quarantine, &writer.session);
    let filter = format!(
        "id IN (SELECT id FROM {} WHERE sqlstate = ANY ($1) AND row_data IS NOT NULL \
         AND discarded_at IS NULL ORDER BY last_seen DESC, id DESC LIMIT {LARGEST_SET})",
        quarantine.table()
    );
    // The last portion has the newest rows, as many as may be held together.
    let mut portions = quarantine.portions(session, &filter, &[&&COLLISIONS[..]]).await?;
    let newest = portions.pop().unwrap_or_default();
    let mut set = quarantine.changes(session, &newest, last.commit_time).await?;
    RANGE.renew(session).await?;
    let counts = writer.counts;
    // A set of one row is not tried, because the row was refused alone a moment ago.
    while set.len() > 1 {
        match try_set(writer, &set).await? {
            Ok(leads) => {
                tracing::info!(rows = set.len(), "rows leave quarantine: they are written as a set");
                RANGE.renew(&writer.session).await?;
                return Ok(leads);
            }
            Err(refused) => {
                writer.counts = counts;
                RANGE.undo(&writer.session).await?;
                if refused.is_empty() {
                    break;
                }
                set.retain(|change| change.change.key().is_none_or(|key| !refused.contains(&key)));
            }
        }
    }
    Ok(Vec::new())
}

async fn try_set(writer: &mut Writer, set: &[SourcedChange]) -> Result<SetResult> {
    for filler in Filler::ALL {
        match row_refusal(give_up(writer, set, filler).await)? {
            Ok(true) => return write_members(writer, set).await,
            Ok(false) => {}
            Err(_) => RANGE.undo(&writer.session).await?,
        }
    }
    Ok(Err(HashSet::new()))
}

/// Lets the rows of the set give up the unique values that are about to change. Returns whether the set has a
/// column to give up.
async fn give_up(writer: &Writer, set: &[SourcedChange], filler: Filler) -> Result<bool> {
    let mut any = false;
    for step in plan(set) {
        let PlanStep::Apply(segment) = step else { continue };
        for (table, writes) in segment.tables() {
            any |= give_up_in(writer, (table, writes), filler).await?;
        }
    }
    Ok(any)
}

async fn give_up_in(writer: &Writer, (table, writes): (Table, &[Write<'_>]), filler: Filler) -> Result<bool> {
    let unique = unique::columns(&writer.session, &writer.names.traffic_table(table)).await?;
    let Some(sql) = writer.target(table).give_up(&unique, filler) else { return Ok(false) };
    let (mapped, _) = map_rows(writer, table, writes.iter());
    let columns = columns_of(writer.catalog.mapping(table), mapped.iter());
    let step = during(&writer.session, writing(table)).of_table(table.traffic_name());
    step.write(&sql, &columns.parameters()).await?;
    Ok(true)
}

/// Writes the rows, and finds the refused rows by bisection, as [`Writer::apply`] does, but quarantines
/// nothing.
async fn write_members(writer: &mut Writer, set: &[SourcedChange]) -> Result<SetResult> {
    let (mut leads, mut refused) = (Vec::new(), HashSet::new());
    let mut bisection = Bisection::new(set, middle);
    MEMBER.set(&writer.session).await?;
    while let Some(range) = bisection.next_range() {
        let counts = writer.counts;
        // The images in quarantine are whole, so no key is missing and nothing is too large.
        if let Ok(RangeAttempt::Done(RangeResult::Done(written))) =
            row_refusal(apply_range(writer, range, &Supplied::new()).await)?
        {
            leads.extend(written);
            MEMBER.renew(&writer.session).await?;
            continue;
        }
        writer.counts = counts;
        MEMBER.undo(&writer.session).await?;
        refused.extend(bisection.refuse(range).and_then(|change| change.change.key()));
    }
    Ok(if refused.is_empty() { Ok(leads) } else { Err(refused) })
}
