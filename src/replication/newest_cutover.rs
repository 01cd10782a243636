//! The newest cutover or rollback as status and page show it, from Traffic's journal.

use tokio_postgres::{Client, Row};

use crate::error::Result;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::telemetry::CutoverReport;

/// `None` without a cutover or rollback.
///
/// # Errors
/// Errors of the server and of the connection.
pub async fn ask(client: &Client, names: &Names) -> Result<Option<CutoverReport>> {
    // An older schema lacks the columns of the hook, and is no reason not to answer.
    let sql = format!(
        "SELECT id, direction, state, reason, clock_timestamp(), started_at, deadline, fenced_at, drained_at, \
         verified_at, finished_at, lifted_at, (to_jsonb(c) ->> 'hook_begun_at')::timestamptz, \
         (to_jsonb(c) ->> 'hook_ended_at')::timestamptz \
         FROM {} AS c WHERE slot = $1 ORDER BY started_at DESC LIMIT 1",
        names.own("cutover"),
    );
    let step = during(client, "asking Traffic for the newest cutover or rollback");
    Ok(step.row_if_any(&sql, &[&names.slot]).await?.as_ref().and_then(report))
}

/// `None` where a time that every row has lies outside the calendar.
fn report(row: &Row) -> Option<CutoverReport> {
    let at = |column: usize| row.get::<_, Option<Timestamp>>(column).and_then(Timestamp::in_calendar);
    Some(CutoverReport {
        id: row.get(0),
        direction: row.get(1),
        state: row.get(2),
        reason: row.get(3),
        asked_at: at(4)?,
        started_at: at(5)?,
        deadline: at(6)?,
        fenced_at: at(7),
        drained_at: at(8),
        verified_at: at(9),
        finished_at: at(10),
        lifted_at: at(11),
        hook_begun_at: at(12),
        hook_ended_at: at(13),
    })
}
