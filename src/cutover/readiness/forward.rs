//! Conditions for a cutover.

use std::sync::Arc;

use tokio_postgres::Client;

use super::roles::{self, Known};
use super::{MARKERS, Readiness, ReadinessTerms, checks, judge_lag};
use crate::checkpoint::lease;
use crate::compare::ReadRate;
use crate::compare::live::{self, Verification};
use crate::config::Config;
use crate::cutover::content::FencedSides;
use crate::cutover::{Direction, marker};
use crate::doctor::writable;
use crate::error::{Error, Result};
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
    findings.add("state", of_traffic, checks::streams(traffic, names).await);
    findings.add("slot", of_landing, checks::slot_in_use(landing, Side::Landing, &names.slot).await);
    findings.add("quarantine", of_traffic, checks::quarantine(traffic, names).await);
    findings.add("fence", of_landing, checks::fence(landing, Side::Landing, names).await);
    findings.add("read_only", of_landing, writable(landing, Side::Landing, names).await);
    findings.add("read_only", of_traffic, writable(traffic, Side::Traffic, names).await);
    ready.look_at_columns(config, landing).await;
    ready.admit(config, landing, traffic, Side::Landing).await;
    let findings = &mut ready.findings;
    if findings.worst() == Level::Error {
        // The remaining checks need the state, the slot and the tables checked so far.
        return ready;
    }
    findings.add("old_transactions", of_landing, checks::held(landing, config).await);
    findings.add("reverse_replication", of_traffic, checks::reverse_replication(traffic, config).await);
    findings.add(
        "synchronous_standby_names",
        of_traffic,
        checks::standbys(traffic, Side::Traffic, &names.reverse_slot()).await,
    );
    findings.add("landing_triggers", of_landing, checks::landing_triggers(landing).await);
    let lag = marker::latency(landing, traffic, names, &names.slot, MARKERS, terms.max_lag).await;
    findings.add("lag", None, judge_lag(lag.as_ref(), terms.max_lag));
    ready.latency = lag.ok();
    if ready.latency.is_none() {
        return ready;
    }
    // A marker came through, so the daemon has its sessions on both sides.
    let (on_landing, on_traffic) = (Known::Slot(names.slot.clone()), Known::Lock(lease::lock(names)));
    ready.findings.add("role", of_landing, roles::same(landing, Side::Landing, on_landing).await);
    ready.findings.add("role", of_traffic, roles::same(traffic, Side::Traffic, on_traffic).await);
    ready.look_ahead(config, landing, traffic, Side::Landing).await;
    let verified = verify(config, terms).await;
    ready.findings.add("verification", None, judge(verified.as_ref()));
    if let Ok(found) = verified {
        ready.rows = found.tables.iter().map(|table| table.found.landing_rows).sum();
        ready.conversion_notes = found.conversion_notes;
        let sides =
            FencedSides { direction: Direction::Cutover, databases: Databases { landing, traffic, names } };
        Box::pin(ready.predict(config, terms, sides)).await;
    }
    ready
}

async fn verify(config: &Config, terms: &ReadinessTerms) -> Result<Verification> {
    let options = live::VerifyOptions {
        tables: config.tables(),
        patience: terms.verify_wait,
        pace: Arc::new(ReadRate::new(None)),
    };
    live::verify(config, &options).await
}

fn judge(verified: std::result::Result<&Verification, &Error>) -> Result<Verdict> {
    match verified {
        Ok(found) if found.equal => {
            let rows: u64 = found.tables.iter().map(|table| table.found.landing_rows).sum();
            let changed: u64 = found.tables.iter().map(|table| table.found.changed_on_traffic).sum();
            let changed = match changed {
                0 => String::new(),
                _ => format!(", but for {changed} that were changed on Traffic and stay so"),
            };
            Ok(Verdict::ok(format!("all {rows} rows are equal{changed} ({:.1} s)", found.seconds)))
        }
        Ok(found) => {
            let of = |table: &live::TableVerification| {
                format!(
                    "{} of {}",
                    table.found.differences() + table.moving + table.orphaned,
                    table.found.table
                )
            };
            let tables: Vec<String> = found.tables.iter().map(of).collect();
            Ok(Verdict::error(
                format!("rows differ, or could not be compared: {}", tables.join(", ")),
                "see `leadbridge verify`",
            ))
        }
        Err(error) => {
            Ok(Verdict::error(error.message(), error.remedy_text().unwrap_or("see `leadbridge verify`")))
        }
    }
}
