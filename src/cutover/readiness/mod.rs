//! What must hold before a cutover or a rollback: a list of conditions, each a finding with its remedy.

pub mod backward;
mod checks;
pub mod forward;

use std::time::Duration;

use super::content::Horizon;
use super::marker::Latency;
use super::writers::Writers;
use crate::doctor::{Findings, Level, Verdict};
use crate::error::{Error, Kind, Result};

/// Markers that are sent to predict the drain.
const MARKERS: usize = 25;

/// Of the longest pause that is allowed, the share that a comparison of every row may take inside the fence.
const COMPARING_SHARE: f64 = 0.25;

/// A single reader inside the fence, and its hashes, against the rows per second of a comparison with all workers.
const SINGLE_READER: f64 = 0.25;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Terms {
    pub max_lag: Duration,
    pub max_pause: Duration,
    /// How long the comparison beforehand waits for rows in flight.
    pub verify_wait: Duration,
    pub compare: Compare,
}

/// When every value of every row is compared once more, as both sides are behind the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compare {
    /// While writers wait where that is short, otherwise after the decision.
    Auto,
    /// While writers wait: before the decision.
    Waiting,
    /// After the decision, on snapshots from before it. Keys and recent rows are compared before it all the same.
    After,
}

/// What was found, and what the cutover goes on from.
#[derive(Default)]
pub struct Readiness {
    pub findings: Findings,
    pub latency: Option<Latency>,
    /// The write pause to expect, in seconds.
    pub predicted_pause: Option<f64>,
    /// Rows that were compared beforehand, and how fast.
    pub(super) rows: u64,
    pub(super) rows_per_second: f64,
    pub(super) conversion_notes: u64,
    pub(super) horizon: Option<Horizon>,
    pub(super) writers: Writers,
    /// Every row is compared inside the fence.
    pub(super) whole: bool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.findings.count(Level::Error) == 0
    }

    /// How long writers would wait: for the drain, and for the comparison inside the fence. `keys`: how long that is
    /// when only keys and recent rows are compared, in seconds.
    async fn predict(&mut self, terms: &Terms, keys: impl Future<Output = Result<f64>>) {
        let Some(latency) = self.latency else { return };
        let comparing = self.rows as f64 / (self.rows_per_second * SINGLE_READER).max(1.0);
        let budget = terms.max_pause.as_secs_f64();
        self.whole = match terms.compare {
            Compare::Auto => comparing <= budget * COMPARING_SHARE,
            Compare::Waiting => true,
            Compare::After => false,
        };
        let seconds = if self.whole { Ok(comparing) } else { keys.await };
        let verdict = seconds.map(|seconds| {
            let pause = latency.p99 + seconds;
            self.predicted_pause = Some(pause);
            let what = if self.whole { "every row is compared" } else { "keys and recent rows are compared" };
            let says =
                format!("writers would wait for about {:.0} ms: the drain, and while {what}", pause * 1e3);
            if pause <= budget {
                Verdict::ok(says)
            } else {
                Verdict::error(
                    format!("{says}; that is longer than {budget} s (--max-pause)"),
                    "try at a quieter moment, or allow a longer --max-pause",
                )
            }
        });
        self.findings.add("pause", None, verdict);
    }
}

fn judge_lag(latency: std::result::Result<&Latency, &Error>, max_lag: Duration) -> Result<Verdict> {
    let most = max_lag.as_secs_f64();
    match latency {
        Ok(latency) => Ok(Verdict::ok(format!(
            "{} markers came through: p50 {:.0} ms, p99 {:.0} ms",
            latency.markers,
            latency.p50 * 1e3,
            latency.p99 * 1e3
        ))),
        Err(error) if error.kind() == Kind::Transient => Ok(Verdict::error(
            format!("a marker did not come through within {most} s (--max-lag-seconds)"),
            "wait until `leadbridge status` shows no lag",
        )),
        Err(error) => Ok(Verdict::error(error.message(), "see `leadbridge doctor`")),
    }
}
