//! From the daemon's live state to the causes of alerts; pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::words;
use crate::config::AlertLimits;
use crate::model::side::Side;
use crate::telemetry::outlook::{Survival, SurvivalState};
use crate::telemetry::{Live, State};

/// Time for a daemon to connect, to check both databases and to begin, before its start counts as a stop.
const STARTING: SignedDuration = SignedDuration::from_secs(60);

/// What an engineer is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The daemon's process has ended, by an error or by force. Begins only by [`super::schedule::Schedule::begin`].
    DaemonEnded,
    /// The daemon runs and does not replicate.
    ReplicationStopped,
    Lag,
    /// The slot on Landing, or on Traffic after a cutover, is lost or about to be.
    SlotInDanger,
    ReverseSlotInDanger,
    Quarantine,
    ReverseQuarantine,
    /// Background verification knows of rows that differ.
    Difference,
    /// A state that does not end without an operator.
    NeedsOperator,
    LandingCertificate,
    TrafficCertificate,
}

/// Present facts about a cause, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    pub detail: String,
    pub remedy: String,
    /// Instead of the cause's usual title.
    pub title: Option<&'static str>,
}

impl Finding {
    pub fn new(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { detail: detail.into(), remedy: remedy.into(), title: None }
    }

    pub fn titled(self, title: &'static str) -> Self {
        Finding { title: Some(title), ..self }
    }
}

/// What the live state says about a cause. `Unknown` begins no alert and ends none, because neither would be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    Present(Finding),
    Absent,
    Unknown,
}

impl Observed {
    fn when(present: bool, finding: impl FnOnce() -> Finding) -> Self {
        if present { Observed::Present(finding()) } else { Observed::Absent }
    }
}

/// All causes, each once.
pub fn examine(live: &Live, limits: &AlertLimits, now: Timestamp) -> Vec<(Cause, Observed)> {
    let stopped = stopped(live, now);
    let ends = live.certificate_ends;
    let certificate = |end: Option<Timestamp>, side| certificate(end, side, limits, now);
    let mut found = vec![
        (Cause::DaemonEnded, stopped.clone()),
        (Cause::ReplicationStopped, stopped),
        (Cause::LandingCertificate, certificate(ends.landing, Side::Landing)),
        (Cause::TrafficCertificate, certificate(ends.traffic, Side::Traffic)),
    ];
    let of_leader = [
        (Cause::Lag, lag(live, limits)),
        (Cause::SlotInDanger, slot(live, limits)),
        (Cause::ReverseSlotInDanger, reverse_slot(live, limits)),
        (Cause::Quarantine, quarantine(live.quarantined)),
        (Cause::ReverseQuarantine, reverse_quarantine(live)),
        (Cause::Difference, difference(live)),
        (Cause::NeedsOperator, needs_operator(live)),
    ];
    // The daemon that replicates reports these; a standby would repeat them.
    let leads = live.state != State::Standby;
    found.extend(
        of_leader.into_iter().map(|(cause, seen)| (cause, if leads { seen } else { Observed::Unknown })),
    );
    found
}

/// Whether replication is well enough for a ping: rows are copied, or the stream flows, its lag is known and within
/// the limits, and no slot is in danger.
pub fn is_well(live: &Live, found: &[(Cause, Observed)]) -> bool {
    let seen = |cause| found.iter().find(|(of, _)| *of == cause).map(|(_, seen)| seen);
    let is_absent = |cause| seen(cause) == Some(&Observed::Absent);
    let endangers = |cause| matches!(seen(cause), Some(Observed::Present(_)));
    let flows = match live.state {
        State::Snapshot => true,
        State::Standby => false,
        _ => is_absent(Cause::Lag),
    };
    flows
        && is_absent(Cause::ReplicationStopped)
        && !endangers(Cause::SlotInDanger)
        && !endangers(Cause::ReverseSlotInDanger)
}

fn stopped(live: &Live, now: Timestamp) -> Observed {
    match live.state {
        State::Error => Observed::Present(words::stopped(live.last_error.as_ref())),
        State::Starting if has_time_to_start(live, now) => Observed::Unknown,
        State::Starting => Observed::Present(words::starting(live.last_error.as_ref())),
        // The stream flows, and was cut so often that the error stays.
        State::Streaming | State::Switched
            if live.last_error.as_ref().is_some_and(|error| error.retrying) =>
        {
            Observed::Unknown
        }
        State::Stopped => Observed::Unknown,
        State::Snapshot
        | State::Streaming
        | State::Standby
        | State::Fenced
        | State::Drained
        | State::Verified
        | State::Switched => Observed::Absent,
    }
}

fn has_time_to_start(live: &Live, now: Timestamp) -> bool {
    live.last_error.is_none() && live.started_at.is_none_or(|at| now.duration_since(at) < STARTING)
}

fn lag(live: &Live, limits: &AlertLimits) -> Observed {
    let flows = matches!(
        live.state,
        State::Streaming | State::Fenced | State::Drained | State::Verified | State::Switched
    );
    if !flows {
        return Observed::Unknown;
    }
    let over = live.lag_bytes.is_some_and(|bytes| bytes > limits.max_lag_bytes)
        || live.lag_seconds.is_some_and(|seconds| seconds > limits.max_lag_seconds);
    match (live.lag_bytes, live.lag_seconds) {
        _ if over => Observed::Present(words::lag(live, limits)),
        (Some(_), Some(_)) => Observed::Absent,
        _ => Observed::Unknown,
    }
}

/// After the switch another slot is made in place of a lost one by the daemon itself.
fn slot(live: &Live, limits: &AlertLimits) -> Observed {
    match &live.slot {
        Some(slot) if live.state != State::Switched => {
            let seen = wal_status(slot.wal_status.as_deref(), Side::Landing, slot.retained_bytes);
            survives(seen, live, Side::Landing, limits)
        }
        Some(_) => Observed::Absent,
        None => Observed::Unknown,
    }
}

fn reverse_slot(live: &Live, limits: &AlertLimits) -> Observed {
    match (&live.reverse, live.state) {
        (Some(reverse), _) => {
            let seen = wal_status(reverse.wal_status.as_deref(), Side::Traffic, reverse.retained_bytes);
            survives(seen, live, Side::Traffic, limits)
        }
        (None, State::Streaming) => Observed::Absent,
        (None, _) => Observed::Unknown,
    }
}

fn wal_status(status: Option<&str>, side: Side, retained: Option<u64>) -> Observed {
    match status {
        Some("lost") => Observed::Present(words::slot_lost(side)),
        Some("unreserved") => Observed::Present(words::slot_unreserved(side, retained)),
        Some(_) => Observed::Absent,
        None => Observed::Unknown,
    }
}

/// A slot whose status is good is in danger when its WAL reaches the limit soon.
fn survives(seen: Observed, live: &Live, side: Side, limits: &AlertLimits) -> Observed {
    let survival = live.survival.filter(|survival| survival.side == side);
    match (seen, survival) {
        (
            Observed::Absent,
            Some(Survival { state: SurvivalState::Filling, seconds_left: Some(left), .. }),
        ) if left < limits.min_survival.as_secs_f64() => Observed::Present(words::slot_fills(side, left)),
        // Too few samples after a start, or after a gap.
        (Observed::Absent, Some(Survival { state: SurvivalState::Unknown, .. })) => Observed::Unknown,
        (seen, _) => seen,
    }
}

fn quarantine(rows: Option<u64>) -> Observed {
    match rows {
        Some(rows) => Observed::when(rows > 0, || words::quarantine(rows)),
        None => Observed::Unknown,
    }
}

fn reverse_quarantine(live: &Live) -> Observed {
    match (&live.reverse, live.state) {
        (Some(reverse), _) => match reverse.quarantined {
            Some(rows) => Observed::when(rows > 0, || words::reverse_quarantine(rows)),
            None => Observed::Unknown,
        },
        (None, State::Streaming) => Observed::Absent,
        (None, _) => Observed::Unknown,
    }
}

/// After the switch nothing is compared, and what was known before tells nothing.
fn difference(live: &Live) -> Observed {
    let known = live.verification.as_ref().and_then(|report| report.unexplained());
    match (live.state, known) {
        (State::Switched, _) => Observed::Absent,
        (_, Some(rows)) => Observed::when(rows > 0, || words::difference(rows, live)),
        (_, None) => Observed::Unknown,
    }
}

fn needs_operator(live: &Live) -> Observed {
    let publication = live.reverse.as_ref().and_then(|reverse| reverse.landing_publication.as_ref());
    match &live.attention {
        Some(waiting) => Observed::when(!waiting.is_empty() || publication.is_some(), || {
            words::needs_operator(waiting, publication)
        }),
        None => Observed::Unknown,
    }
}

fn certificate(end: Option<Timestamp>, side: Side, limits: &AlertLimits, now: Timestamp) -> Observed {
    let Some(end) = end else { return Observed::Unknown };
    let days = end.duration_since(now).as_secs().div_euclid(24 * 3600);
    let limit = i64::try_from(limits.certificate_days).unwrap_or(i64::MAX);
    Observed::when(days < limit, || words::certificate(side, end, days))
}

#[cfg(test)]
#[path = "causes_tests.rs"]
mod tests;
