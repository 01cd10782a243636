//! Conditions for a cutover or a rollback. Each condition is a finding with a remedy.

pub mod backward;
mod checks;
mod columns;
pub mod forward;
mod outside;
mod roles;
mod round;
mod schedulers;

use std::time::{Duration, Instant};

pub use columns::TrafficOwned;

use super::content::{FencedSides, Horizon};
use super::marker::Latency;
use crate::admission::{self, AdmissionScope, Extent, Facts};
use crate::config::Config;
use crate::doctor::judge_left_out;
use crate::doctor::tables::stands_in_the_way;
use crate::doctor::writable;
use crate::error::{Error, Kind, Result};
use crate::fence::FencedRoles;
use crate::landing::left_out::{LeftOut, left_out};
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::postgres::{Database, Databases};
use crate::report::{Findings, Level, Verdict};

/// Number of markers sent to predict the drain.
const MARKERS: usize = 25;

/// Share of the longest allowed pause that a comparison of every row may take inside the fence.
const COMPARING_SHARE: f64 = 0.25;

/// Rows per second that no single reader exceeds. A comparison that would take too long even at this rate is
/// not tried.
const SINGLE_READER: f64 = 200_000.0;

/// Limits and choices of the operator.
#[derive(Clone, Debug)]
pub struct ReadinessTerms {
    pub max_lag: Duration,
    pub max_pause: Duration,
    /// How long the comparison before the fence waits for rows in flight.
    pub verify_wait: Duration,
    pub compare: Compare,
    /// A dry run may rely on the daemon's last round of background verification.
    pub dry_run: bool,
}

/// When every value of every row is compared once more, as both sides are inside the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// While writers wait if the comparison is short, otherwise after the decision.
    Auto,
    /// While writers wait, before the decision.
    Waiting,
    /// After the decision, on snapshots from before the decision. Keys and recent rows are always compared
    /// before the decision.
    After,
}

/// Findings, and facts for the cutover or rollback that follows.
#[derive(Default)]
pub struct Readiness {
    pub findings: Findings,
    pub latency: Option<Latency>,
    /// Expected write pause, in seconds.
    pub predicted_pause: Option<f64>,
    /// Rows compared before the fence.
    pub(super) rows: u64,
    pub(super) conversion_notes: u64,
    /// Columns that neither direction writes, because Landing lacks their source.
    pub traffic_owned: Vec<TrafficOwned>,
    /// Columns of Landing that are not replicated.
    pub left_out: Vec<LeftOut>,
    horizon: Option<Horizon>,
    pub(super) writers: FencedRoles,
    /// Whether every row is compared inside the fence.
    pub(super) whole: bool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.findings.count(Level::Error) == 0
    }

    /// The horizon of the comparison before the fence.
    ///
    /// # Errors
    /// Internal without a horizon; a readiness without an error has a horizon.
    pub(super) fn horizon(&self) -> Result<&Horizon> {
        self.horizon.as_ref().ok_or_else(|| Error::internal("readiness without a horizon"))
    }

    /// Examines whether the tables of both sides may be written to, and whether writes to other tables reach
    /// the tables of `fenced`. Returns false when a condition is not met so far, because the remaining
    /// conditions need the state, the slots and the tables.
    async fn look_at_tables(&mut self, config: &Config, databases: Databases<'_>, fenced: Side) -> bool {
        for side in [Side::Landing, Side::Traffic] {
            let Database { client, names, .. } = databases.on(side);
            self.findings.add("read_only", Some(side), writable(client, side, names).await);
        }
        self.look_at_columns(config, databases).await;
        self.admit(config, databases, fenced).await;
        self.findings.worst() != Level::Error
    }

    /// Judges the latency of the markers. Returns false when the markers have not come through.
    fn measured(&mut self, latency: Result<Latency>, max_lag: Duration) -> bool {
        self.findings.add("lag", None, judge_lag(latency.as_ref(), max_lag));
        self.latency = latency.ok();
        self.latency.is_some()
    }

    /// Determines the columns that are neither compared nor written.
    async fn look_at_columns(&mut self, config: &Config, databases: Databases<'_>) {
        let owned = columns::traffic_owned(databases, config).await;
        self.findings.add(
            "columns",
            Some(Side::Landing),
            owned.map(|owned| {
                let verdict = columns::judge(&owned);
                self.traffic_owned = owned;
                verdict
            }),
        );
        let left_out = left_out(databases, &config.tables(), &config.columns).await;
        let verdict = left_out.map(|left_out| {
            let verdict = judge_left_out(&left_out);
            self.left_out = left_out;
            verdict
        });
        self.findings.add("left_out_columns", Some(Side::Landing), verdict);
    }

    /// Examines whether both sides' tables may be written to in either direction, and whether writes to other
    /// tables reach the tables of `fenced`.
    async fn admit(&mut self, config: &Config, databases: Databases<'_>, fenced: Side) {
        for side in [Side::Landing, Side::Traffic] {
            let Database { client, names, .. } = databases.on(side);
            let scope = AdmissionScope { side, names, tables: &config.tables(), extent: Extent::Whole };
            let examined = scope.examine(client).await;
            if let (true, Ok((facts, _))) = (side == fenced, &examined) {
                self.findings.add("other_writers", Some(side), Ok(other_writers(facts)));
            }
            stands_in_the_way(&mut self.findings, side, examined, message!("cutover-tables-writable"));
        }
    }

    /// Takes the horizon before the comparison, and reads the roles that may write to `fenced`.
    async fn look_ahead(&mut self, config: &Config, databases: Databases<'_>, fenced: Side) {
        match Horizon::now(databases).await {
            Ok(horizon) => self.horizon = Some(horizon),
            Err(error) => self.findings.add("horizon", None, Err(error)),
        }
        match FencedRoles::read(databases.on(fenced), config.scheduled_notifications).await {
            Ok(writers) => self.writers = writers,
            Err(error) => self.findings.add("writers", Some(fenced), Err(error)),
        }
    }

    /// Predicts how long writers would wait, for the drain and for the comparison inside the fence. Decides
    /// whether every row is compared there.
    async fn predict(&mut self, config: &Config, terms: &ReadinessTerms, sides: FencedSides<'_>) {
        let (Some(latency), Some(horizon)) = (self.latency, self.horizon.clone()) else { return };
        let budget = terms.max_pause.as_secs_f64();
        let most = budget * COMPARING_SHARE;
        let hopeless = self.rows as f64 / SINGLE_READER > most;
        let seconds = match terms.compare {
            Compare::Waiting => Some(timed(config, sides, &horizon, true).await),
            Compare::Auto if !hopeless => {
                let took = timed(config, sides, &horizon, true).await;
                Some(took).filter(|took| took.as_ref().is_ok_and(|took| *took <= most))
            }
            Compare::Auto | Compare::After => None,
        };
        self.whole = seconds.is_some();
        let seconds = match seconds {
            Some(seconds) => seconds,
            None => timed(config, sides, &horizon, false).await,
        };
        let verdict = seconds.map(|seconds| {
            let pause = latency.p99 + seconds;
            self.predicted_pause = Some(pause);
            let what =
                if self.whole { message!("cutover-pause-every-row") } else { message!("cutover-pause-keys") };
            let says = message!("cutover-pause", milliseconds = format!("{:.0}", pause * 1e3), what = what);
            if pause <= budget {
                Verdict::ok(says)
            } else {
                Verdict::error(
                    message!("cutover-pause-too-long", says = says, budget = budget),
                    message!("cutover-pause-too-long-remedy"),
                )
            }
        });
        self.findings.add("pause", None, verdict);
    }
}

/// Writes to other tables that a fence would also refuse.
fn other_writers(facts: &Facts) -> Verdict {
    match admission::reached_by_others(facts) {
        reached if reached.is_empty() => Verdict::ok(message!("cutover-no-other-writers")),
        reached => Verdict::warning(
            message!("cutover-other-writers", reached = Message::joined(reached, "; ")),
            message!("cutover-other-writers-remedy"),
        ),
    }
}

/// Time of the comparison inside the fence, in seconds: the same comparison is run without a fence.
/// Differences mean nothing here, because rows may be in flight.
async fn timed(config: &Config, sides: FencedSides<'_>, horizon: &Horizon, whole: bool) -> Result<f64> {
    let started = Instant::now();
    for table in config.tables() {
        sides.prove(table, horizon, whole).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn judge_lag(latency: std::result::Result<&Latency, &Error>, max_lag: Duration) -> Result<Verdict> {
    let most = max_lag.as_secs_f64();
    match latency {
        Ok(latency) => Ok(Verdict::ok(message!(
            "cutover-lag",
            markers = latency.markers,
            p50 = format!("{:.0}", latency.p50 * 1e3),
            p99 = format!("{:.0}", latency.p99 * 1e3)
        ))),
        Err(error) if error.kind() == Kind::Transient => Ok(Verdict::error(
            message!("cutover-lag-too-large", seconds = most),
            message!("cutover-lag-too-large-remedy"),
        )),
        Err(error) => Ok(Verdict::error(Message::verbatim(error.message()), message!("report-see-doctor"))),
    }
}
