//! Metrics of background verification. Before anything is known, and without a daemon that verifies, there is no sample.

use prometheus_client::registry::Unit;

use super::collected::{Metric, Samples, flag, float};
use crate::telemetry::{Live, VerificationActivity, VerificationReport};

pub(super) static GAUGES: [Metric; 5] = [
    Metric {
        name: "verification_differing_rows",
        unit: None,
        help: "Rows that background verification knows to differ now, without the rows in quarantine.",
        read: |live, out| {
            let tables = live.verification.iter().flat_map(|report| &report.differing).flatten();
            tables.for_each(|rows| {
                out.labelled(&[("table", &rows.table)], Some(float(rows.counts.unexplained())));
            });
        },
    },
    Metric {
        name: "verification_coverage_ratio",
        unit: None,
        help: "Part of the ranges of keys that the round in hand has compared; 1 between two rounds.",
        read: |live, out| of(live, out, |report| report.round.as_ref().and_then(|round| round.coverage)),
    },
    Metric {
        name: "verification_round_end_time",
        unit: Some(Unit::Seconds),
        help: "When the last round of background verification ended, in seconds since 1970.",
        read: |live, out| {
            of(live, out, |report| {
                report.last.as_ref().map(|last| last.ended_at.as_millisecond() as f64 / 1e3)
            });
        },
    },
    Metric {
        name: "verification_round_rows",
        unit: None,
        help: "Rows of Landing in the last round of background verification.",
        read: |live, out| of(live, out, |report| report.last.as_ref().map(|last| float(last.rows))),
    },
    Metric {
        name: "verification_resting",
        unit: None,
        help: "1 while background verification is held up, by lag, a lock, a copy, a cutover or an error.",
        read: |live, out| {
            of(live, out, |report| Some(flag(report.activity == VerificationActivity::Resting)))
        },
    },
];

pub(super) static COUNTERS: [Metric; 3] = [
    Metric {
        name: "verification_rounds",
        unit: None,
        help: "Rounds of background verification that have ended.",
        read: |live, out| of(live, out, |report| Some(float(report.rounds))),
    },
    Metric {
        name: "verification_rows_read",
        unit: None,
        help: "Rows whose values background verification has read.",
        read: |live, out| of(live, out, |report| Some(float(report.rows_read))),
    },
    Metric {
        name: "verification_repaired_rows",
        unit: None,
        help: "Rows that background verification has repaired.",
        read: |live, out| of(live, out, |report| Some(float(report.repaired))),
    },
];

fn of(live: &Live, out: &mut Samples, figure: fn(&VerificationReport) -> Option<f64>) {
    let verifies = |report: &&VerificationReport| report.activity != VerificationActivity::Off;
    out.plain(live.verification.as_ref().filter(verifies).and_then(figure));
}
