//! Conditions for a rollback.

use std::time::{Duration, Instant};

use super::roles::{self, Known};
use super::{MARKERS, Readiness, ReadinessTerms, checks, outside, schedulers};
use crate::compare::reverse;
use crate::config::Config;
use crate::cutover::Direction;
use crate::cutover::adopt::{self, Sending};
use crate::cutover::content::FencedSides;
use crate::cutover::marker::MarkerArrival;
use crate::error::{Kind, Result};
use crate::fence::holders::Against;
use crate::language::message;
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::postgres::advisory::ExclusiveRight;
use crate::report::{Level, Verdict};

/// Examines every condition. A condition that cannot be examined counts as not met.
pub async fn examine(config: &Config, terms: &ReadinessTerms, databases: Databases<'_>) -> Readiness {
    let mut ready = Readiness::default();
    let Databases { traffic, names, .. } = databases;
    let (on_landing, on_traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let findings = &mut ready.findings;
    let (of_landing, of_traffic) = (Some(Side::Landing), Some(Side::Traffic));
    let reverse_slot = names.reverse_slot();
    findings.add("state", of_traffic, checks::is_switched(on_traffic).await);
    if findings.worst() == Level::Error {
        return ready;
    }
    findings.add("slot", of_traffic, checks::slot_in_use(on_traffic, &reverse_slot).await);
    let published = checks::reverse_publication(databases, config).await;
    findings.add("reverse_publication", of_traffic, published);
    findings.add("forward_slot", of_landing, checks::slot_is_healthy(databases).await);
    let published = checks::forward_publication(databases, config).await;
    findings.add("forward_publication", of_landing, published);
    findings.add("quarantine", of_traffic, checks::reverse_quarantine(on_traffic).await);
    for side in [Side::Landing, Side::Traffic] {
        findings.add("fence", Some(side), checks::fence(databases.on(side), config).await);
        findings.add("state_tables", Some(side), outside::state_tables(databases.on(side)).await);
        // Landing's fence is opened without a lock, but rows are written there before.
        let against = if side == Side::Traffic { Against::Fence } else { Against::Writers };
        findings.add("old_transactions", Some(side), checks::held(databases.on(side), config, against).await);
    }
    if config.scheduled_notifications {
        findings.add("notifications", of_traffic, schedulers::pending(on_traffic).await);
    }
    if !ready.look_at_tables(config, databases, Side::Traffic).await {
        return ready;
    }
    let findings = &mut ready.findings;
    findings.add("synchronous_standby_names", of_landing, checks::standbys(on_landing, &names.slot).await);
    findings.add("stream", of_landing, outside::stream(&config.landing).await);
    let arrival = MarkerArrival { traffic: on_traffic, slot: &reverse_slot };
    let lag = arrival.latency(traffic, MARKERS, terms.max_lag).await;
    if !ready.measured(lag, terms.max_lag) {
        return ready;
    }
    // A marker came through, so the daemon has its sessions on both sides.
    let (right, slot) = (Known::Holder(ExclusiveRight::WriteLanding), Known::Slot(reverse_slot.clone()));
    ready.findings.add("role", of_landing, roles::same(on_landing, right).await);
    ready.findings.add("role", of_traffic, roles::same(on_traffic, slot).await);
    ready.look_ahead(config, databases, Side::Traffic).await;
    let compared = compare(config, terms, databases).await;
    if let Ok(found) = &compared {
        ready.rows = found.rows;
    }
    ready.findings.add("verification", None, compared.map(judge));
    let sending = adopt::try_sending(config, databases, HELD).await;
    ready.findings.add("sent_again", of_landing, sending.map(|found| judge_sending(&found, terms.max_pause)));
    let sides = FencedSides { direction: Direction::Rollback, databases };
    Box::pin(ready.predict(config, terms, sides)).await;
    ready
}

/// Largest number of differing rows of a table that are rechecked.
const SUSPECTS: u64 = 10_000;

/// Result of comparing both databases in use, while reverse replication runs.
#[derive(Default)]
struct ReverseFindings {
    rows: u64,
    /// Rows that differ although the stream has passed the rows' changes.
    differences: u64,
}

/// Compares every table. Rows in flight are rechecked after a marker has arrived, until the rows are equal or
/// the patience for a table is over.
async fn compare(
    config: &Config,
    terms: &ReadinessTerms,
    databases: Databases<'_>,
) -> Result<ReverseFindings> {
    let mut sum = ReverseFindings::default();
    for table in config.tables() {
        let deadline = Instant::now() + terms.verify_wait;
        let found = reverse::compare(databases, table).await?;
        sum.rows += found.landing_rows - found.extra;
        // More rows cannot be in flight.
        if found.differences() > SUSPECTS {
            sum.differences += found.differences();
            continue;
        }
        let mut differing = found.unlike();
        while !differing.is_empty() && Instant::now() < deadline {
            passed(databases, deadline.saturating_duration_since(Instant::now())).await?;
            differing = reverse::compare_rows(databases, table, &differing).await?.unlike();
        }
        sum.differences += differing.len() as u64;
    }
    Ok(sum)
}

/// Waits until the stream has passed everything that Traffic has committed, or until `limit` is over.
async fn passed(databases: Databases<'_>, limit: Duration) -> Result<()> {
    let Databases { traffic, names, .. } = databases;
    let arrival = MarkerArrival { traffic: databases.on(Side::Traffic), slot: &names.reverse_slot() };
    let sent = arrival.latency(traffic, 1, limit).await;
    match sent {
        Err(error) if error.kind() != Kind::Transient => Err(error),
        _ => Ok(()),
    }
}

/// Time after which a row on Landing counts as held: reverse replication holds a row for a shorter time.
const HELD: Duration = Duration::from_secs(1);

fn judge_sending(found: &Sending, max_pause: Duration) -> Verdict {
    let Sending { rows, seconds } = *found;
    if rows == 0 {
        return Verdict::ok(message!("cutover-sent-again-none"));
    }
    let says = message!("cutover-sent-again", rows = rows, milliseconds = format!("{:.0}", seconds * 1e3));
    match seconds <= max_pause.as_secs_f64() {
        true => Verdict::ok(says),
        false => Verdict::warning(says, message!("cutover-sent-again-remedy")),
    }
}

fn judge(found: ReverseFindings) -> Verdict {
    match found.differences {
        0 => Verdict::ok(message!("cutover-compared-backward", rows = found.rows)),
        _ => Verdict::error(
            message!("cutover-differs-backward", rows = found.differences),
            message!("cutover-differs-backward-remedy"),
        ),
    }
}
