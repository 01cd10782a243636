//! Conditions for a rollback.

use tokio_postgres::Client;

use super::roles::{self, Known};
use super::{MARKERS, Readiness, ReadinessTerms, checks, judge_lag};
use crate::config::Config;
use crate::cutover::content::FencedSides;
use crate::cutover::flowing_back::{self, ReverseFindings};
use crate::cutover::{Direction, marker};
use crate::doctor::writable;
use crate::error::Result;
use crate::fence;
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::report::{Level, Verdict};

/// Examines every condition. A condition that cannot be examined counts as not met.
pub async fn examine(
    config: &Config,
    terms: &ReadinessTerms,
    landing: &Client,
    traffic: &Client,
) -> Readiness {
    let mut ready = Readiness::default();
    let names = &config.names;
    let findings = &mut ready.findings;
    let (of_landing, of_traffic) = (Some(Side::Landing), Some(Side::Traffic));
    let reverse_slot = names.reverse_slot();
    findings.add("state", of_traffic, checks::is_switched(traffic, names).await);
    if findings.worst() == Level::Error {
        return ready;
    }
    findings.add("slot", of_traffic, checks::slot_in_use(traffic, Side::Traffic, &reverse_slot).await);
    findings.add("forward_slot", of_landing, checks::slot_is_healthy(landing, &names.slot).await);
    findings.add("quarantine", of_traffic, checks::reverse_quarantine(traffic, names).await);
    findings.add("fence", of_traffic, checks::fence(traffic, Side::Traffic, names).await);
    findings.add("read_only", of_landing, writable(landing, Side::Landing, names).await);
    findings.add("read_only", of_traffic, writable(traffic, Side::Traffic, names).await);
    ready.look_at_columns(config, landing).await;
    ready.admit(config, landing, traffic, Side::Traffic).await;
    let findings = &mut ready.findings;
    if findings.worst() == Level::Error {
        // The remaining checks need the state, the slots and the tables checked so far.
        return ready;
    }
    findings.add(
        "synchronous_standby_names",
        of_landing,
        checks::standbys(landing, Side::Landing, &names.slot).await,
    );
    findings.add("old_transactions", of_traffic, checks::held(traffic, config).await);
    let lag = marker::latency(traffic, traffic, names, &reverse_slot, MARKERS, terms.max_lag).await;
    findings.add("lag", None, judge_lag(lag.as_ref(), terms.max_lag));
    ready.latency = lag.ok();
    if ready.latency.is_none() {
        return ready;
    }
    // A marker came through, so the daemon has its sessions on both sides.
    let (on_landing, on_traffic) =
        (Known::Lock(fence::pass::right(names)), Known::Slot(reverse_slot.clone()));
    ready.findings.add("role", of_landing, roles::same(landing, Side::Landing, on_landing).await);
    ready.findings.add("role", of_traffic, roles::same(traffic, Side::Traffic, on_traffic).await);
    ready.look_ahead(config, landing, traffic, Side::Traffic).await;
    let compared = compare(config, terms, landing, traffic).await;
    if let Ok(found) = &compared {
        ready.rows = found.rows;
    }
    ready.findings.add("verification", None, compared.map(judge));
    let sides =
        FencedSides { direction: Direction::Rollback, databases: Databases { landing, traffic, names } };
    Box::pin(ready.predict(config, terms, sides)).await;
    ready
}

async fn compare(
    config: &Config,
    terms: &ReadinessTerms,
    landing: &Client,
    traffic: &Client,
) -> Result<ReverseFindings> {
    let mut sum = ReverseFindings::default();
    for table in config.tables() {
        let found = flowing_back::compare(
            Databases { landing, traffic, names: &config.names },
            table,
            terms.verify_wait,
        )
        .await?;
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
