//! Conditions for a cutover.

use std::sync::Arc;

use super::roles::{self, Known};
use super::{MARKERS, Readiness, ReadinessTerms, checks, outside, round, schedulers};
use crate::compare::ReadRate;
use crate::compare::live::{self, Verification};
use crate::config::Config;
use crate::cutover::Direction;
use crate::cutover::content::FencedSides;
use crate::cutover::marker::MarkerArrival;
use crate::doctor::{judge_legacy_names, pending_notifications};
use crate::error::{Error, Result};
use crate::fence::holders::Against;
use crate::language::written::date;
use crate::language::{Argument, Message, message};
use crate::model::side::Side;
use crate::postgres::advisory::ExclusiveRight;
use crate::postgres::{Database, Databases};
use crate::report::{Findings, Level, Verdict};

/// Examines every condition. A condition that cannot be examined counts as not met.
pub async fn examine(config: &Config, terms: &ReadinessTerms, databases: Databases<'_>) -> Readiness {
    let mut ready = Readiness::default();
    let Databases { landing, names, .. } = databases;
    let (on_landing, on_traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let findings = &mut ready.findings;
    let (of_landing, of_traffic) = (Some(Side::Landing), Some(Side::Traffic));
    findings.add("state", of_traffic, checks::streams(on_traffic).await);
    findings.add("slot", of_landing, checks::slot_in_use(on_landing, &names.slot).await);
    findings.add("quarantine", of_traffic, checks::quarantine(on_traffic).await);
    for side in [Side::Landing, Side::Traffic] {
        findings.add("fence", Some(side), checks::fence(databases.on(side), config).await);
        findings.add("state_tables", Some(side), outside::state_tables(databases.on(side)).await);
    }
    findings.add("old_transactions", of_traffic, checks::held(on_traffic, config, Against::Readers).await);
    let pending = match config.scheduled_notifications {
        true => schedulers::pending(on_landing).await,
        false => pending_notifications(landing, config).await,
    };
    findings.add("notifications", of_landing, pending);
    findings.add("legacy_names", of_traffic, Box::pin(judge_legacy_names(databases, config)).await);
    if !ready.look_at_tables(config, databases, Side::Landing).await {
        return ready;
    }
    let findings = &mut ready.findings;
    findings.add("old_transactions", of_landing, checks::held(on_landing, config, Against::Fence).await);
    look_at_reverse_replication(findings, config, on_traffic).await;
    findings.add(
        "synchronous_standby_names",
        of_traffic,
        checks::standbys(on_traffic, &names.reverse_slot()).await,
    );
    findings.add("landing_triggers", of_landing, checks::landing_triggers(landing).await);
    let arrival = MarkerArrival { traffic: on_traffic, slot: &names.slot };
    let lag = arrival.latency(landing, MARKERS, terms.max_lag).await;
    if !ready.measured(lag, terms.max_lag) {
        return ready;
    }
    // A marker came through, so the daemon has its sessions on both sides.
    let (slot, lease) = (Known::Slot(names.slot.clone()), Known::Holder(ExclusiveRight::Lease));
    ready.findings.add("role", of_landing, roles::same(on_landing, slot).await);
    ready.findings.add("role", of_traffic, roles::same(on_traffic, lease).await);
    ready.look_ahead(config, databases, Side::Landing).await;
    if compare(&mut ready, config, terms, databases).await {
        let sides = FencedSides { direction: Direction::Cutover, databases };
        Box::pin(ready.predict(config, terms, sides)).await;
    }
    ready
}

/// Compares both sides. Returns false when they could not be compared.
async fn compare(
    ready: &mut Readiness,
    config: &Config,
    terms: &ReadinessTerms,
    databases: Databases<'_>,
) -> bool {
    // What keeps the short way from being taken is told by the long one.
    if terms.dry_run
        && let Ok(Some(found)) = round::by_round(config, terms, databases).await
    {
        (ready.rows, ready.conversion_notes) = (found.rows, found.conversion_notes);
        ready.findings.add("verification", None, Ok(by_round(&found)));
        return true;
    }
    let verified = verify(config, terms).await;
    ready.findings.add("verification", None, judge(verified.as_ref()));
    if let Ok(found) = &verified {
        ready.rows = found.tables.iter().map(|table| table.found.landing_rows).sum();
        ready.conversion_notes = found.conversion_notes;
    }
    verified.is_ok()
}

fn by_round(found: &round::ByRound) -> Verdict {
    Verdict::ok(message!(
        "cutover-compared-by-round",
        round = found.number,
        at = date(found.ended_at),
        rows = found.rows,
        read = found.read
    ))
}

/// Examines what reverse replication needs on Traffic. A stream and a slot are tried only where the settings allow
/// them.
async fn look_at_reverse_replication(findings: &mut Findings, config: &Config, traffic: Database<'_>) {
    let side = Some(Side::Traffic);
    let reverse = checks::reverse_replication(traffic, config).await;
    let is_possible = reverse.as_ref().is_ok_and(|verdict| verdict.level == Level::Ok);
    findings.add("reverse_replication", side, reverse);
    if is_possible {
        findings.add("reverse_slot", side, outside::reverse_slot(traffic).await);
        findings.add("stream", side, outside::stream(&config.traffic).await);
        findings.add("slot_creation", side, outside::slot_creation(config).await);
    }
}

async fn verify(config: &Config, terms: &ReadinessTerms) -> Result<Verification> {
    let options = live::VerifyOptions {
        tables: config.tables(),
        patience: terms.verify_wait,
        pace: Arc::new(ReadRate::new(None)),
        place: Arc::default(),
    };
    live::verify(config, &options).await
}

fn judge(verified: std::result::Result<&Verification, &Error>) -> Result<Verdict> {
    match verified {
        Ok(found) if found.equal => {
            let rows: u64 = found.tables.iter().map(|table| table.found.landing_rows).sum();
            let changed: u64 = found.tables.iter().map(|table| table.found.changed_on_traffic).sum();
            let seconds = Argument::Decimal(format!("{:.1}", found.seconds));
            Ok(Verdict::ok(match changed {
                0 => message!("cutover-compared", rows = rows, seconds = seconds),
                _ => message!(
                    "cutover-compared-but-for-changed",
                    rows = rows,
                    changed = changed,
                    seconds = seconds
                ),
            }))
        }
        Ok(found) => {
            let of = |table: &live::TableVerification| {
                message!(
                    "cutover-differs-in-table",
                    count = table.found.differences() + table.moving + table.orphaned,
                    table = &*table.found.table
                )
            };
            let tables: Vec<Message> = found.tables.iter().map(of).collect();
            Ok(Verdict::error(
                message!("cutover-differs", tables = Message::joined(tables, ", ")),
                message!("cutover-differs-remedy"),
            ))
        }
        Err(error) => {
            let remedy =
                error.remedy_message().cloned().unwrap_or_else(|| message!("cutover-differs-remedy"));
            Ok(Verdict::error(Message::verbatim(error.message()), remedy))
        }
    }
}
