//! Conditions for a rollback.

use super::roles::{self, Known};
use super::{MARKERS, Readiness, ReadinessTerms, checks};
use crate::config::Config;
use crate::cutover::Direction;
use crate::cutover::content::FencedSides;
use crate::cutover::flowing_back::{self, ReverseFindings};
use crate::cutover::marker::MarkerArrival;
use crate::doctor::writable;
use crate::error::Result;
use crate::fence;
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::report::{Level, Verdict};

/// Examines every condition. A condition that cannot be examined counts as not met.
pub async fn examine(config: &Config, terms: &ReadinessTerms, databases: Databases<'_>) -> Readiness {
    let mut ready = Readiness::default();
    let Databases { landing, traffic, names } = databases;
    let (on_landing, on_traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let findings = &mut ready.findings;
    let (of_landing, of_traffic) = (Some(Side::Landing), Some(Side::Traffic));
    let reverse_slot = names.reverse_slot();
    findings.add("state", of_traffic, checks::is_switched(on_traffic).await);
    if findings.worst() == Level::Error {
        return ready;
    }
    findings.add("slot", of_traffic, checks::slot_in_use(on_traffic, &reverse_slot).await);
    findings.add("forward_slot", of_landing, checks::slot_is_healthy(on_landing, &names.slot).await);
    findings.add("quarantine", of_traffic, checks::reverse_quarantine(on_traffic).await);
    findings.add("fence", of_traffic, checks::fence(on_traffic).await);
    findings.add("read_only", of_landing, writable(landing, Side::Landing, names).await);
    findings.add("read_only", of_traffic, writable(traffic, Side::Traffic, names).await);
    ready.look_at_columns(config, landing).await;
    ready.admit(config, databases, Side::Traffic).await;
    let findings = &mut ready.findings;
    if findings.worst() == Level::Error {
        // The remaining checks need the state, the slots and the tables checked so far.
        return ready;
    }
    findings.add("synchronous_standby_names", of_landing, checks::standbys(on_landing, &names.slot).await);
    findings.add("old_transactions", of_traffic, checks::held(on_traffic, config).await);
    let arrival = MarkerArrival { traffic: on_traffic, slot: &reverse_slot };
    let lag = arrival.latency(traffic, MARKERS, terms.max_lag).await;
    if !ready.measured(lag, terms.max_lag) {
        return ready;
    }
    // A marker came through, so the daemon has its sessions on both sides.
    let (right, slot) = (Known::Lock(fence::pass::right(names)), Known::Slot(reverse_slot.clone()));
    ready.findings.add("role", of_landing, roles::same(on_landing, right).await);
    ready.findings.add("role", of_traffic, roles::same(on_traffic, slot).await);
    ready.look_ahead(config, databases, Side::Traffic).await;
    let compared = compare(config, terms, databases).await;
    if let Ok(found) = &compared {
        ready.rows = found.rows;
    }
    ready.findings.add("verification", None, compared.map(judge));
    let sides = FencedSides { direction: Direction::Rollback, databases };
    Box::pin(ready.predict(config, terms, sides)).await;
    ready
}

async fn compare(
    config: &Config,
    terms: &ReadinessTerms,
    databases: Databases<'_>,
) -> Result<ReverseFindings> {
    let mut sum = ReverseFindings::default();
    for table in config.tables() {
        let found = flowing_back::compare(databases, table, terms.verify_wait).await?;
        sum.rows += found.rows;
        sum.differences += found.differences;
    }
    Ok(sum)
}

fn judge(found: ReverseFindings) -> Verdict {
    match found.differences {
        0 => Verdict::ok(format!("all {} rows on Landing are as Traffic has them", found.rows)),
        _ => Verdict::error(
            format!("{} rows differ, or could not be compared", found.differences),
            "see the daemon's log, and what waits in leadbridge.reverse_quarantine on Traffic",
        ),
    }
}
