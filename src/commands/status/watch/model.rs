//! What the watch knows: the newest answer, what earlier answers have said, and how old each of them is; pure.

use std::time::Duration;

use jiff::Timestamp;

use super::figures::{DaemonCounts, FigureSample, RecentFigures};
use crate::commands::status::gather::WhoAnswered;
use crate::telemetry::{Live, State};

/// Age from which an answer is shown as an old one, while no newer one has come.
const OLD_AFTER: Duration = Duration::from_secs(4);

/// A moment of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Since the watch began, by a clock that never jumps.
    pub elapsed: Duration,
    /// This machine's clock, which is shown and never computed with.
    pub clock: Timestamp,
}

/// Answer of `GET /readyz`.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadyAnswer {
    Ready,
    /// With the daemon's reason.
    NotReady(String),
}

/// The answers to one round of questions.
#[derive(Clone, Debug)]
pub struct Round {
    pub live: Live,
    pub answered: WhoAnswered,
    /// `None` when no daemon of this installation answers.
    pub readiness: Option<ReadyAnswer>,
    /// Why a database has not answered.
    pub errors: Vec<String>,
}

/// The maxima of the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Maxima {
    pub lag_bytes: Option<u64>,
    pub lag_seconds: Option<f64>,
}

/// Something an answer has said, and when.
#[derive(Clone, Copy, Debug)]
pub struct KnownRound<'m> {
    pub round: &'m Round,
    /// `None` for a fresh answer; otherwise the moment of the answer, which is to be shown.
    pub old_since: Option<Moment>,
}

type Kept = Option<(Box<Round>, Moment)>;

/// Everything that the screen shows.
#[derive(Debug)]
pub struct Model {
    pub maxima: Maxima,
    pub figures: RecentFigures,
    pub begun: Moment,
    pub now: Moment,
    newest: Kept,
    // The newest answer in which each of these was known.
    lag: Kept,
    daemon: Kept,
    landing: Kept,
    traffic: Kept,
    attention: Kept,
}

impl Model {
    pub fn new(maxima: Maxima, begun: Moment) -> Self {
        Model {
            maxima,
            figures: RecentFigures::default(),
            begun,
            now: begun,
            newest: None,
            lag: None,
            daemon: None,
            landing: None,
            traffic: None,
            attention: None,
        }
    }

    /// Time goes on, also without an answer. Never goes back.
    pub fn tick(&mut self, now: Moment) {
        self.now = Moment { elapsed: now.elapsed.max(self.now.elapsed), clock: now.clock };
    }

    /// Takes the answers of a round.
    pub fn take(&mut self, round: Round, now: Moment) {
        self.tick(now);
        let now = self.now;
        self.figures.add(sample(&round, now.elapsed));
        let WhoAnswered { daemon, landing, traffic } = round.answered;
        let live = &round.live;
        let places = [
            (&mut self.lag, live.lag_bytes.is_some() && (daemon || landing)),
            (&mut self.daemon, daemon),
            (&mut self.landing, landing),
            (&mut self.traffic, traffic),
            (&mut self.attention, live.attention.is_some()),
        ];
        for (kept, is_known) in places {
            if is_known {
                *kept = Some((Box::new(round.clone()), now));
            }
        }
        self.newest = Some((Box::new(round), now));
    }

    /// The newest answers; `None` before the first.
    pub fn newest(&self) -> Option<KnownRound<'_>> {
        self.known(&self.newest)
    }

    /// The newest answer with a lag.
    pub fn lag(&self) -> Option<KnownRound<'_>> {
        self.known(&self.lag)
    }

    /// The daemon's newest answer.
    pub fn daemon(&self) -> Option<KnownRound<'_>> {
        self.known(&self.daemon)
    }

    /// Landing's newest answer.
    pub fn landing(&self) -> Option<KnownRound<'_>> {
        self.known(&self.landing)
    }

    /// Traffic's newest answer.
    pub fn traffic(&self) -> Option<KnownRound<'_>> {
        self.known(&self.traffic)
    }

    /// The newest answer in which both databases have said what waits for an operator.
    pub fn attention(&self) -> Option<KnownRound<'_>> {
        self.known(&self.attention)
    }

    /// Time since `then`.
    pub fn since(&self, then: Moment) -> Duration {
        self.now.elapsed.saturating_sub(then.elapsed)
    }

    /// Time since the newest answer.
    pub fn since_newest(&self) -> Duration {
        self.newest.as_ref().map_or(Duration::ZERO, |(_, at)| self.since(*at))
    }

    /// When the newest answer came.
    pub fn answered_at(&self) -> Option<Moment> {
        self.newest.as_ref().map(|(_, at)| *at)
    }

    fn known<'m>(&'m self, kept: &'m Kept) -> Option<KnownRound<'m>> {
        let (round, at) = kept.as_ref()?;
        let is_newest = self.newest.as_ref().is_some_and(|(_, newest)| newest == at);
        let is_old = !is_newest || self.since(*at) >= OLD_AFTER;
        Some(KnownRound { round, old_since: is_old.then_some(*at) })
    }
}

fn sample(round: &Round, at: Duration) -> FigureSample {
    let live = &round.live;
    let daemon = round.answered.daemon.then(|| DaemonCounts {
        process: live.started_at,
        rows: live.rows_applied.saturating_add(live.snapshot_rows().0),
        copied: live.snapshot.iter().map(|table| (table.table.clone(), table.rows_done)).collect(),
    });
    // After the switch the lag is of Traffic's WAL, and Landing's positions say nothing about it.
    let positions = (live.state != State::Switched).then_some((live.landing_lsn, live.applied_lsn));
    let (landing_lsn, applied_lsn) = positions.unwrap_or_default();
    let has_lag = round.answered.daemon || round.answered.landing;
    FigureSample {
        at,
        lag_bytes: live.lag_bytes.filter(|_| has_lag),
        lag_seconds: live.lag_seconds.filter(|_| has_lag),
        daemon,
        landing_lsn,
        applied_lsn,
    }
}
