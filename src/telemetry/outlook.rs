//! What the recent past says about the near future: rate, trend, how long the slot survives, and how long catching
//! up takes. Pure: everything follows from the samples and from the slot's limits.
//!
//! A figure for which the samples do not suffice is `None`: at the start, after a gap, after a change of direction.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::{History, Sample};
use super::{Live, State};
use crate::model::side::Side;

/// Longest time that is written out, in seconds: an estimate beyond has no meaning.
pub const FAR: f64 = 30.0 * 86_400.0;
/// Time over which rates and trend are taken.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// Time over which the growth of the retained WAL is taken. Longer, because a slot's WAL shrinks in steps.
const GROWTH_WINDOW: Duration = Duration::from_secs(300);
/// Shortest time from which a rate is taken.
const SHORTEST: Duration = Duration::from_secs(5);
/// Shortest half of [`GROWTH_WINDOW`]: PostgreSQL writes the record that lets a slot's WAL shrink every 15 seconds.
const SHORTEST_HALF: Duration = Duration::from_secs(16);
/// Change of the lag, in seconds and in seconds a minute, below which the lag is steady.
const STEADY: f64 = 1.0;
/// A lag below this many seconds is no backlog.
const NO_BACKLOG: f64 = 10.0;

/// Speed over the last minute, or over the shorter time for which samples exist.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Rows applied in a second; null when no daemon answers.
    pub rows_per_second: Option<f64>,
    /// Bytes of the source's WAL by which the applied position advances in a second; null when no daemon answers.
    pub applied_bytes_per_second: Option<f64>,
    /// Bytes of WAL that the source writes in a second, other tables' included.
    pub wal_bytes_per_second: f64,
    /// Length of the time over which the rates are taken.
    pub over_seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendDirection {
    Rising,
    Falling,
    Steady,
}

/// Change of the lag over the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    pub direction: TrendDirection,
    /// Change of `lag_bytes` in a minute.
    pub bytes_per_minute: f64,
    /// Change of `lag_seconds` in a minute.
    pub seconds_per_minute: f64,
    /// Length of the time over which the change is taken.
    pub over_seconds: f64,
}

/// State of the slot's survival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurvivalState {
    /// The server has removed WAL that the slot needs.
    Lost,
    /// The server may remove WAL that the slot needs at its next checkpoint.
    Unreserved,
    /// No `max_slot_wal_keep_size` is set: only the server's disk is a limit, and no role sees its free space.
    NoLimit,
    /// Too few samples.
    Unknown,
    /// The retained WAL does not grow.
    NotFilling,
    /// The retained WAL grows towards the limit.
    Filling,
}

/// How long until the server drops WAL that the slot needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survival {
    pub state: SurvivalState,
    /// The side of the slot: the side that is streamed from.
    pub side: Side,
    /// `max_slot_wal_keep_size`; null without a limit.
    pub limit_bytes: Option<u64>,
    /// WAL that may be written before the limit is reached (`safe_wal_size`); null without a limit.
    pub safe_bytes: Option<u64>,
    /// Growth of the retained WAL; null when not known, 0 when the retained WAL does not grow.
    pub growth_bytes_per_second: Option<f64>,
    /// Time until the limit is reached at that growth; null unless the state is `filling` or `unreserved`.
    pub seconds_left: Option<f64>,
    /// Time until the limit is reached if replication stopped now, at the rate at which the source writes WAL; null
    /// without a limit, or when nothing is written.
    pub seconds_left_if_stopped: Option<f64>,
}

impl Survival {
    /// WAL that may still be written, for people: PostgreSQL counts whole segments, so that a little more than the limit
    /// may be left.
    pub fn left_bytes(&self) -> u64 {
        self.safe_bytes.unwrap_or(0).min(self.limit_bytes.unwrap_or(0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpState {
    /// The lag is under ten seconds.
    KeepsUp,
    /// The lag becomes less.
    CatchingUp,
    /// The lag does not become less: at this rate the stream never catches up.
    FallingBehind,
}

/// How long catching up takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    pub state: CatchUpState,
    /// Time until the lag is gone; 0 in state `keeps_up`, null in state `falling_behind`.
    pub seconds: Option<f64>,
}

/// The slot of the running direction, as far as its survival is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SlotLimits<'s> {
    pub wal_status: Option<&'s str>,
    pub retained_bytes: Option<u64>,
    pub safe_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
}

impl<'s> SlotLimits<'s> {
    /// Of the slot that `source` keeps; `None` without a slot.
    pub fn of(live: &'s Live, source: Side) -> Option<Self> {
        match (source, &live.slot, &live.reverse) {
            (Side::Landing, Some(slot), _) => Some(SlotLimits {
                wal_status: slot.wal_status.as_deref(),
                retained_bytes: slot.retained_bytes,
                safe_bytes: slot.safe_bytes,
                limit_bytes: slot.limit_bytes,
            }),
            (Side::Traffic, _, Some(reverse)) if reverse.wal_status.is_some() => Some(SlotLimits {
                wal_status: reverse.wal_status.as_deref(),
                retained_bytes: reverse.retained_bytes,
                safe_bytes: reverse.safe_bytes,
                limit_bytes: reverse.limit_bytes,
            }),
            _ => None,
        }
    }
}

/// Everything that follows from the history at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outlook {
    pub rate: Option<Rate>,
    pub trend: Option<Trend>,
    pub survival: Option<Survival>,
    pub catch_up: Option<CatchUp>,
}

impl Outlook {
    /// `live` gives the limits of the slot, which are the present ones.
    pub fn of(history: &History, live: &Live) -> Self {
        let Some(latest) = history.latest() else { return Outlook::default() };
        let rate = rate(history);
        let trend = trend(history);
        let survival = SlotLimits::of(live, latest.source).map(|slot| {
            let written = rate.map(|rate| rate.wal_bytes_per_second);
            survival(latest.source, slot, growth(history), written)
        });
        // During a copy the stream does not run, so nothing is caught up yet.
        let streams = !matches!(live.state, State::Snapshot | State::Starting | State::Standby);
        let catch_up = trend.filter(|_| streams).and_then(|trend| catch_up(latest, trend));
        Outlook { rate, trend, survival, catch_up }
    }

    /// Puts the outlook into the live state.
    pub fn tell(self, live: &mut Live) {
        let Outlook { rate, trend, survival, catch_up } = self;
        (live.rate, live.trend, live.survival, live.catch_up) = (rate, trend, survival, catch_up);
    }
}

/// The first and the last sample of the last `window`. `None` when the source did not answer at the latest sample, or
/// when the samples lie too close together.
fn ends(history: &History, window: Duration) -> Option<(&Sample, &Sample)> {
    let mut known = history.within(window).filter(|sample| sample.written.is_some());
    let first = known.next()?;
    let last = known.next_back()?;
    let is_latest = history.latest().is_some_and(|latest| latest.at == last.at);
    (is_latest && last.at.saturating_sub(first.at) >= SHORTEST).then_some((first, last))
}

fn rate(history: &History) -> Option<Rate> {
    let (first, last) = ends(history, RATE_WINDOW)?;
    let seconds = last.at.saturating_sub(first.at).as_secs_f64();
    let applied =
        first.applied.zip(last.applied).map(|(first, last)| last.bytes_since(first) as f64 / seconds);
    let (from, to) = first.written.zip(last.written)?;
    Some(Rate {
        rows_per_second: Some(last.rows.saturating_sub(first.rows) as f64 / seconds),
        applied_bytes_per_second: applied,
        wal_bytes_per_second: to.bytes_since(from) as f64 / seconds,
        over_seconds: seconds,
    })
}

fn trend(history: &History) -> Option<Trend> {
    let (first, last) = ends(history, RATE_WINDOW)?;
    let seconds = last.at.saturating_sub(first.at).as_secs_f64();
    let samples = history.within(RATE_WINDOW);
    let bytes = slope(samples.clone().filter_map(|s| Some((s.at.as_secs_f64(), s.lag_bytes? as f64))))?;
    let lag = slope(samples.filter_map(|s| Some((s.at.as_secs_f64(), s.lag_seconds?))))?;
    let is_steady = lag.abs() * 60.0 < STEADY || lag.abs() * seconds < STEADY;
    let direction = match lag > 0.0 {
        _ if is_steady => TrendDirection::Steady,
        true if last.lag_bytes == Some(0) => TrendDirection::Steady,
        true => TrendDirection::Rising,
        false => TrendDirection::Falling,
    };
    Some(Trend {
        direction,
        bytes_per_minute: bytes * 60.0,
        seconds_per_minute: lag * 60.0,
        over_seconds: seconds,
    })
}

/// Slope of the line that lies closest to the points (least squares). `None` for points at one time.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let count = points.clone().count() as f64;
    let (xs, ys) = points.clone().fold((0.0, 0.0), |(xs, ys), (x, y)| (xs + x, ys + y));
    let (mean_x, mean_y) = (xs / count, ys / count);
    let (over, under) = points.fold((0.0, 0.0), |(over, under), (x, y)| {
        (over + (x - mean_x) * (y - mean_y), under + (x - mean_x) * (x - mean_x))
    });
    Some(over / under).filter(|slope| under > 0.0 && slope.is_finite())
}

/// Growth of the retained WAL in bytes a second, never negative: the least WAL retained in the later half of the time
/// less the least in the earlier half. A slot's WAL grows and shrinks in steps while everything is well, and its least
/// value stays the same.
fn growth(history: &History) -> Option<f64> {
    let (first, last) = ends(history, GROWTH_WINDOW)?;
    let half = last.at.saturating_sub(first.at) / 2;
    if half < SHORTEST_HALF {
        return None;
    }
    let middle = first.at + half;
    let samples = history.within(GROWTH_WINDOW);
    let known = |sample: &Sample| sample.retained.map(|bytes| (bytes, sample.at));
    let earlier =
        samples.clone().filter(|sample| sample.at < middle).filter_map(known).min_by_key(|least| least.0)?;
    let later = samples.filter(|sample| sample.at >= middle).filter_map(known).min_by_key(|least| least.0)?;
    let seconds = later.1.saturating_sub(earlier.1).as_secs_f64();
    Some(later.0.saturating_sub(earlier.0) as f64 / seconds).filter(|growth| growth.is_finite())
}

/// How long the slot of `side` survives. `growth` and `written` are the bytes a second by which the retained WAL grows,
/// and which the server writes.
pub fn survival(side: Side, slot: SlotLimits<'_>, growth: Option<f64>, written: Option<f64>) -> Survival {
    let SlotLimits { wal_status, safe_bytes, limit_bytes, .. } = slot;
    let until = |rate: Option<f64>| {
        let (safe, rate) = (safe_bytes? as f64, rate.filter(|rate| *rate > 0.0)?);
        Some(safe / rate).filter(|seconds| seconds.is_finite())
    };
    let (state, seconds_left) = match (wal_status, limit_bytes, growth) {
        (Some("lost"), ..) => (SurvivalState::Lost, None),
        (Some("unreserved"), ..) => (SurvivalState::Unreserved, Some(0.0)),
        (_, None, _) => (SurvivalState::NoLimit, None),
        (_, Some(_), None) => (SurvivalState::Unknown, None),
        (_, Some(_), growth) => match until(growth) {
            Some(seconds) => (SurvivalState::Filling, Some(seconds)),
            None => (SurvivalState::NotFilling, None),
        },
    };
    let seconds_left_if_stopped = until(written).filter(|_| state != SurvivalState::Lost);
    let growth_bytes_per_second = growth;
    Survival {
        state,
        side,
        limit_bytes,
        safe_bytes,
        growth_bytes_per_second,
        seconds_left,
        seconds_left_if_stopped,
    }
}

fn catch_up(latest: &Sample, trend: Trend) -> Option<CatchUp> {
    let (bytes, seconds) = (latest.lag_bytes?, latest.lag_seconds?);
    if bytes == 0 || seconds < NO_BACKLOG {
        return Some(CatchUp { state: CatchUpState::KeepsUp, seconds: Some(0.0) });
    }
    let left = (bytes as f64) / (-trend.bytes_per_minute / 60.0);
    Some(match trend.bytes_per_minute < 0.0 && left.is_finite() {
        true => CatchUp { state: CatchUpState::CatchingUp, seconds: Some(left) },
        false => CatchUp { state: CatchUpState::FallingBehind, seconds: None },
    })
}

#[cfg(test)]
#[path = "outlook_tests.rs"]
mod tests;
