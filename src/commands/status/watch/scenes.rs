//! Models of the scenes that the stored screens show.

use std::time::Duration;

use uuid::Uuid;

use super::model::{Maxima, Model, Moment, ReadyAnswer, Round};
use crate::commands::status::gather::WhoAnswered;
use crate::error::Error;
use crate::language::Message;
use crate::model::difference_counts::DifferenceCounts;
use crate::model::lsn::Lsn;
use crate::report::Attention;
use crate::telemetry::scenes_for_tests::{clock, cutover, live, slot};
use crate::telemetry::{
    DaemonPresence, DifferingRows, LastError, LastRound, LeaseHolder, Live, ReverseReport, SlotReport, State,
    TableProgress, VerificationActivity, VerificationReport,
};

pub const ALL: WhoAnswered = WhoAnswered { daemon: true, landing: true, traffic: true };

/// Seconds after the watch began, at noon.
pub fn moment(seconds: f64) -> Moment {
    let elapsed = Duration::from_secs_f64(seconds);
    Moment { elapsed, clock: clock(seconds) }
}

pub fn round(live: Live) -> Round {
    let readiness = match live.state {
        State::Streaming | State::Switched => ReadyAnswer::Ready,
        state => ReadyAnswer::NotReady(format!("not streaming: {state}")),
    };
    Round { live, answered: ALL, readiness: Some(readiness), errors: Vec::new() }
}

/// A watch of two minutes over a stream with a lag that rose and fell.
pub fn streamed() -> Model {
    let mut model = Model::new(Maxima::default(), moment(0.0));
    for second in 0..=120_u64 {
        let behind = 60_u64.saturating_sub(second.abs_diff(60)) / 10;
        let rows = second * 40 + second.min(60) * 100;
        let at = Lsn(0x1000_0000 + second * 46_080);
        let seen = Live {
            lag_bytes: Some(behind * 640_000),
            lag_seconds: Some(behind as f64 * 0.7),
            rows_applied: 12_000 + rows,
            landing_lsn: Some(at),
            applied_lsn: Some(at),
            ..live(State::Streaming)
        };
        model.take(round(seen), moment(second as f64));
    }
    model.tick(moment(120.3));
    model
}

/// The same, and then `live` and one more frame.
pub fn then(live: Live) -> Model {
    let mut model = streamed();
    model.take(round(live), moment(121.0));
    model.tick(moment(121.4));
    model
}

pub fn during(state: State, reached: usize) -> Model {
    let cutover = cutover("cutover", state.as_str(), reached, 119.0);
    then(Live { cutover: Some(cutover), rows_applied: 22_940, ..live(state) })
}

pub fn switched() -> Model {
    let reverse = ReverseReport {
        slot: "leadbridge_reverse".into(),
        active: true,
        wal_status: Some("reserved".into()),
        retained_bytes: Some(40_960),
        lag_bytes: Some(0),
        lag_seconds: Some(0.0),
        quarantined: Some(0),
        ..ReverseReport::default()
    };
    then(Live {
        lag_bytes: Some(0),
        lag_seconds: Some(0.0),
        reverse: Some(reverse),
        cutover: Some(cutover("cutover", "switched", 4, 119.0)),
        rows_applied: 22_940,
        slot: Some(SlotReport { active: false, ..slot() }),
        ..live(State::Switched)
    })
}

pub fn snapshot() -> Model {
    let mut model = Model::new(Maxima::default(), moment(0.0));
    for second in 0..=30_u64 {
        let table = |name: &str, rows_done, rows_expected, finished| TableProgress {
            table: name.into(),
            rows_done,
            rows_expected: Some(rows_expected),
            finished,
        };
        let seen = Live {
            lag_bytes: None,
            lag_seconds: None,
            snapshot: vec![
                table("landing_leads", 1_200_000, 1_190_000, true),
                table("journey_stages", second * 41_000, 3_000_000, false),
                table("scheduled_notifications", 0, 90_000, false),
            ],
            snapshot_rows_per_second: Some(41_000.0),
            snapshot_seconds_left: Some(45.0),
            snapshot_indexes_left: Some(7),
            ..live(State::Snapshot)
        };
        model.take(round(seen), moment(second as f64));
    }
    model
}

pub fn standby() -> Model {
    let holder = LeaseHolder {
        pid: Some(4711),
        role: Some("leadbridge".into()),
        application_name: Some("leadbridge applier".into()),
        client_address: Some("10.0.0.7".into()),
        since: Some("2026-11-29T11:00:00Z".into()),
        is_leadbridge: true,
    };
    then(Live { lag_bytes: None, lag_seconds: None, lease_holder: Some(holder), ..live(State::Standby) })
}

pub fn failed() -> Model {
    let error = Error::refused("TRUNCATE of landing_leads on Landing at 0/1A2B3C4D")
        .remedy(Message::verbatim("set [stream] on_truncate = \"apply\" to delete the rows on Traffic too, or restore the rows on Landing"));
    let error = LastError { at: clock(118.0), ..LastError::new(&error) };
    then(Live { last_error: Some(error), ..live(State::Error) })
}

/// The daemon was killed; both databases answer.
pub fn daemon_gone() -> Model {
    let mut model = streamed();
    let seen = Live {
        state: State::Stopped,
        daemon: DaemonPresence::Down,
        lag_is_estimate: true,
        lag_bytes: Some(48_000),
        lag_seconds: Some(14.2),
        started_at: None,
        slot: Some(SlotReport { active: false, ..slot() }),
        ..live(State::Stopped)
    };
    let answered = WhoAnswered { daemon: false, ..ALL };
    model.take(Round { live: seen, answered, readiness: None, errors: Vec::new() }, moment(134.0));
    model.tick(moment(134.5));
    model
}

/// Nothing answers any more.
pub fn all_gone() -> Model {
    let mut model = streamed();
    let seen = Live { daemon: DaemonPresence::Unknown, ..Live::stopped() };
    let errors = vec![
        "Landing at db.example.org:5432 cannot be reached: connection refused".to_owned(),
        "Traffic at db.example.net:5432 cannot be reached: connection refused".to_owned(),
    ];
    model
        .take(Round { live: seen, answered: WhoAnswered::default(), readiness: None, errors }, moment(150.0));
    model
}

/// A question that is not answered.
pub fn hanging() -> Model {
    let mut model = streamed();
    model.tick(moment(133.0));
    model
}

pub fn quarantine() -> Model {
    let waiting = Attention::new(
        Message::verbatim(
            "the hook of the cutover 00000000-0000-0000-0000-000000000000 has not succeeded: applications may still \
             use Landing",
        ),
        Message::verbatim(
            "run the hook with LEADBRIDGE_EVENT=switch; then `leadbridge cutover --hook-settled`",
        ),
    );
    let mut model = then(Live {
        quarantined: Some(1_204),
        attention: Some(vec![waiting]),
        columns_not_replicated: Some(vec!["a".into(), "b".into()]),
        ..live(State::Streaming)
    });
    model.maxima = Maxima { lag_bytes: Some(1024), lag_seconds: Some(10.0) };
    model
}

/// Background verification has found two rows.
pub fn different() -> Model {
    let rows = DifferingRows {
        table: "landing_leads".into(),
        counts: DifferenceCounts { different: 2, ..DifferenceCounts::default() },
        examples: vec![Uuid::nil()],
    };
    let last = LastRound {
        number: 7,
        begun_at: clock(30.0),
        ended_at: clock(61.0),
        rows: 24_000,
        clean: false,
        differing: 2,
        repaired: 0,
        open_ranges: 0,
        not_repaired: None,
    };
    let report = VerificationReport {
        last: Some(last),
        next_at: Some(clock(3_600.0)),
        differing: Some(vec![rows]),
        ..VerificationReport::new(VerificationActivity::Waiting, false)
    };
    then(Live { verification: Some(report), ..live(State::Streaming) })
}
