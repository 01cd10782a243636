//! States that the tests of several rooms show.

use jiff::Timestamp;

use super::{CutoverReport, DaemonPresence, Live, SlotReport, State};

/// Seconds after noon.
pub fn clock(seconds: f64) -> Timestamp {
    "2026-11-29T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs_f64(seconds)
}

pub fn slot() -> SlotReport {
    SlotReport {
        name: "leadbridge".into(),
        active: true,
        wal_status: Some("reserved".into()),
        retained_bytes: Some(1_300_000),
        safe_bytes: None,
        limit_bytes: None,
    }
}

pub fn live(state: State) -> Live {
    Live {
        state,
        daemon: DaemonPresence::Running,
        lag_bytes: Some(12_800),
        lag_seconds: Some(0.4),
        slot: Some(slot()),
        quarantined: Some(0),
        conversion_notes: Some(3),
        columns_not_replicated: Some(Vec::new()),
        attention: Some(Vec::new()),
        blocked_by: Some(Vec::new()),
        started_at: Some(clock(-3_600.0)),
        version: "1.0.0".into(),
        ..Live::stopped()
    }
}

/// A run that began so many seconds after noon, with its first steps; Traffic was asked two seconds later.
pub fn cutover(direction: &str, state: &str, reached: usize, began: f64) -> CutoverReport {
    let at = |place: usize, seconds: f64| (reached >= place).then(|| clock(began + seconds));
    CutoverReport {
        direction: direction.into(),
        state: state.into(),
        started_at: clock(began),
        deadline: clock(began + 120.0),
        fenced_at: at(1, 0.312),
        drained_at: at(2, 0.498),
        verified_at: at(3, 1.204),
        finished_at: at(4, 1.377),
        asked_at: clock(began + 2.0),
        ..CutoverReport::default()
    }
}
