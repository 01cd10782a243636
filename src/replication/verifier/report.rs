//! What the live state says about background verification.

use super::super::Context;
use super::nothing_known;
use super::seat::Seat;
use crate::telemetry::{DifferingRows, LastRound, RoundReport, VerificationActivity, VerificationReport};
use crate::verification::{Record, RoundResult, Terms};

/// Keys of differing rows that the report names, for each table.
const EXAMPLES: usize = 10;

/// Says what happens now; what is known of rounds and rows stays.
pub fn say(context: &Context, activity: VerificationActivity, why: Option<String>) {
    context.telemetry.update_quietly(|live| {
        let report = live.verification.get_or_insert_with(|| nothing_known(context, activity));
        (report.activity, report.rests_because) = (activity, why);
    });
}

/// Counts something in the report.
pub fn count(context: &Context, add: impl FnOnce(&mut VerificationReport)) {
    context.telemetry.update_quietly(|live| {
        if let Some(report) = &mut live.verification {
            add(report);
        }
    });
}

/// Tells the state of the record.
pub fn tell(context: &Context, seat: &Seat, terms: Terms) {
    let differing = differing(context, &seat.record);
    let round = seat.record.round.as_ref().map(|round| RoundReport {
        number: round.number,
        begun_at: round.begun_at,
        coverage: Some(seat.record.compared() as f64 / (seat.record.ranges.len().max(1) as f64)),
    });
    let last = seat.record.round.as_ref().and_then(|round| round.last.as_ref()).map(last_round);
    let ended = seat.record.round.as_ref().filter(|round| round.ended_at.is_some());
    let next_at = ended
        .and_then(|round| round.begun_at.checked_add(jiff::SignedDuration::try_from(terms.every).ok()?).ok());
    // Woken, because an alert depends on the differences.
    context.telemetry.update(|live| {
        if let Some(report) = &mut live.verification {
            (report.round, report.last, report.next_at) = (round, last, next_at);
            report.differing = differing;
        }
    });
}

pub fn last_round(result: &RoundResult) -> LastRound {
    LastRound {
        number: result.number,
        begun_at: result.begun_at,
        ended_at: result.ended_at,
        rows: result.rows,
        clean: result.is_clean(),
        differing: result.counts.all(),
        repaired: result.repaired,
        open_ranges: result.open_ranges,
        not_repaired: result.not_repaired.clone(),
    }
}

/// `None` before anything was compared, because "no difference" would be a claim.
fn differing(context: &Context, record: &Record) -> Option<Vec<DifferingRows>> {
    let is_known = record.rows().1 || record.counts().all() > 0;
    is_known.then(|| {
        context
            .tables
            .iter()
            .map(|table| DifferingRows {
                table: context.names().landing_name(*table).to_owned(),
                counts: record.counts_of(*table),
                examples: record.differing(*table).take(EXAMPLES).collect(),
            })
            .collect()
    })
}
