//! Notifications that are pending while the system of record changes: either database's scheduler could send them.

use crate::error::Result;
use crate::language::{Message, message};
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::report::Verdict;
use crate::traffic::flowing;

/// Within this time of the switch a notification counts as due soon, because a scheduler that has not been stopped
/// would come to the notification while the operator is still at work.
const SOON_MINUTES: u32 = 15;

/// Pending notifications of the side that takes writes now.
struct Pending {
    all: i64,
    /// Due before now.
    overdue: i64,
    /// Due within [`SOON_MINUTES`] from now.
    soon: i64,
    /// The earliest time of the others, in UTC.
    next: Option<String>,
}

/// Counts the pending notifications that the other side has as well. `fenced` is the side that writers leave. Must be
/// asked only while notifications are replicated.
pub(super) async fn pending(fenced: Database<'_>) -> Result<Verdict> {
    let table = fenced.table(Table::ScheduledNotifications);
    // A notification of a lead that Traffic's own code made stays with Traffic's scheduler.
    let flows = match fenced.side {
        Side::Landing => "true".to_owned(),
        Side::Traffic => flowing::flows(fenced.names, Table::ScheduledNotifications),
    };
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE t.scheduled_for <= now()),
                count(*) FILTER (WHERE t.scheduled_for > now() AND t.scheduled_for <= now() + interval '{SOON_MINUTES} minutes'),
                to_char(min(t.scheduled_for) FILTER (WHERE t.scheduled_for > now() AND isfinite(t.scheduled_for))
                        AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"')
         FROM {table} AS t WHERE t.status::text = 'pending' AND {flows}"
    );
    let step = fenced.during(format!("counting the pending notifications on the {}", fenced.side));
    let row = step.row(&sql, &[]).await?;
    let found = Pending { all: row.get(0), overdue: row.get(1), soon: row.get(2), next: row.get(3) };
    Ok(judge(&found, fenced.side))
}

fn judge(found: &Pending, fenced: Side) -> Verdict {
    let Pending { all, overdue, soon, next } = found;
    if *all == 0 {
        return Verdict::ok(message!("cutover-notifications-none"));
    }
    let (left, taken, direction) = match fenced {
        Side::Landing => (Side::Landing, Side::Traffic, "cutover"),
        Side::Traffic => (Side::Traffic, Side::Landing, "rollback"),
    };
    let next = next.as_ref().map(|at| message!("cutover-notifications-next", at = at));
    let due = message!("cutover-notifications-soon", minutes = SOON_MINUTES, soon = soon);
    let due = Message::joined([Some(due), next].into_iter().flatten(), ", ");
    let says = message!("cutover-notifications-pending", all = all, overdue = overdue, due = due);
    let remedy =
        message!("cutover-notifications-pending-remedy", left = left, direction = direction, taken = taken);
    Verdict::warning(says, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    #[test]
    fn pending_notifications_are_a_warning_that_names_who_stops_and_who_starts() {
        let found = Pending { all: 7, overdue: 1, soon: 2, next: Some("2026-12-01 10:00 UTC".into()) };
        let verdict = judge(&found, Side::Traffic);
        assert_eq!(verdict.level, Level::Warning);
        assert_eq!(
            verdict.message.to_string(),
            "notifications pending on both databases: 7 (overdue: 1; due within 15 minutes: 2, the next at \
             2026-12-01 10:00 UTC); either database's scheduler would send them"
        );
        let remedy = verdict.remedy.unwrap().to_string();
        assert!(remedy.starts_with("stop Traffic's scheduler before the rollback"), "{remedy}");
        let none = Pending { all: 0, overdue: 0, soon: 0, next: None };
        assert_eq!(judge(&none, Side::Landing).level, Level::Ok);
    }
}
