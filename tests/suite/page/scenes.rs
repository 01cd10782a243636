//! Fixed scenes, for pictures and for accessibility.

use jiff::{SignedDuration, Timestamp};
use leadbridge::error::Error;
use leadbridge::language::Message;
use leadbridge::model::lsn::Lsn;
use leadbridge::model::side::Side;
use leadbridge::page::Scene;
use leadbridge::report::Attention;
use leadbridge::telemetry::columns::ChartColumn;
use leadbridge::telemetry::http::Limits;
use leadbridge::telemetry::outlook::{Rate, Survival, SurvivalState, Trend, TrendDirection};
use leadbridge::telemetry::past::Window;
use leadbridge::telemetry::{
    BlockingSession, CertificateEnds, CutoverReport, LastError, LastRound, Live, SlotReport, State,
    TableProgress, VerificationActivity, VerificationReport,
};

pub fn clock(seconds: f64) -> Timestamp {
    "2026-11-29T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(seconds)
}

/// A round without a difference.
fn verified() -> VerificationReport {
    let last = LastRound {
        number: 71,
        begun_at: clock(-3_000.0),
        ended_at: clock(-2_640.0),
        rows: 4_250_000,
        clean: true,
        differing: 0,
        repaired: 0,
        open_ranges: 0,
        not_repaired: None,
    };
    VerificationReport {
        last: Some(last),
        next_at: Some(clock(600.0)),
        differing: Some(Vec::new()),
        ..VerificationReport::new(VerificationActivity::Waiting, false)
    }
}

fn live(state: State) -> Live {
    let slot = SlotReport {
        name: "leadbridge".into(),
        active: true,
        wal_status: Some("reserved".into()),
        retained_bytes: Some(1_300_000),
        safe_bytes: Some(4_293_000_000),
        limit_bytes: Some(4 << 30),
    };
    let survival = Survival {
        state: SurvivalState::NotFilling,
        side: Side::Landing,
        limit_bytes: Some(4 << 30),
        safe_bytes: Some(4_293_000_000),
        growth_bytes_per_second: Some(0.0),
        seconds_left: None,
        seconds_left_if_stopped: Some(95_400.0),
    };
    let rate = Rate {
        rows_per_second: Some(41.0),
        applied_bytes_per_second: Some(46_000.0),
        wal_bytes_per_second: 46_080.0,
        over_seconds: 60.0,
    };
    Live {
        state,
        verification: Some(verified()),
        lag_bytes: Some(12_800),
        lag_seconds: Some(0.4),
        applied_lsn: Some(Lsn(0x1_1000_0000)),
        landing_lsn: Some(Lsn(0x1_1000_3200)),
        slot: Some(slot),
        quarantined: Some(0),
        conversion_notes: Some(3),
        attention: Some(Vec::new()),
        blocked_by: Some(Vec::new()),
        rate: Some(rate),
        survival: Some(survival),
        certificate_ends: CertificateEnds {
            landing: Some(clock(60.0 * 86_400.0)),
            traffic: Some(clock(91.0 * 86_400.0)),
        },
        started_at: Some(clock(-86_400.0 * 3.0)),
        rows_applied: 1_284_512,
        version: "1.0.0".into(),
        ..Live::starting()
    }
}

/// A day with a quiet night, two backlogs and an hour in which nothing was known, drawn from sums of waves.
fn column(place: usize) -> ChartColumn {
    let x = place as f64;
    let backlog = |middle: f64, width: f64, height: f64| height * (-((x - middle) / width).powi(2)).exp();
    if (62..68).contains(&place) {
        return ChartColumn::default();
    }
    let lag = 0.3 + backlog(48.0, 5.0, 21.0) + backlog(140.0, 9.0, 9.0) + (x * 0.9).sin().abs() * 0.4;
    let rows = 38.0 + (x / 17.0).sin() * 20.0 + backlog(52.0, 6.0, 120.0) + backlog(150.0, 8.0, 70.0);
    ChartColumn {
        lag_bytes: Some((lag * 640_000.0) as u64),
        lag_seconds: Some(lag),
        rows_per_second: Some(rows.max(0.0)),
    }
}

fn scene(live: Live, window: Window) -> Scene {
    let columns = (0..window.columns()).map(column).collect();
    let limits = Limits { max_lag_bytes: 64 << 20, max_lag_seconds: 60.0 };
    Scene { live, columns, window, limits, now: clock(0.0) }
}

pub fn streaming(window: Window) -> Scene {
    scene(live(State::Streaming), window)
}

/// The initial copy.
pub fn snapshot(window: Window) -> Scene {
    let table = |name: &str, rows_done, rows_expected, finished| TableProgress {
        table: name.into(),
        rows_done,
        rows_expected: Some(rows_expected),
        finished,
    };
    let copied = vec![
        table("landing_leads", 1_200_000, 1_190_000, true),
        table("journey_stages", 1_230_000, 3_000_000, false),
        table("scheduled_notifications", 0, 90_000, false),
    ];
    let live = Live {
        lag_bytes: None,
        lag_seconds: None,
        rate: None,
        snapshot: copied,
        snapshot_rows_per_second: Some(41_000.0),
        snapshot_seconds_left: Some(45.0),
        snapshot_indexes_left: Some(7),
        verification: None,
        ..live(State::Snapshot)
    };
    let mut scene = scene(live, window);
    let width = scene.columns.len();
    let unknown = |place: usize| place < width - 8;
    let copying = ChartColumn { rows_per_second: Some(41_000.0), ..ChartColumn::default() };
    scene.columns =
        (0..width).map(|place| if unknown(place) { ChartColumn::default() } else { copying }).collect();
    scene
}

/// A cutover that has drained.
pub fn cutover(window: Window) -> Scene {
    let report = CutoverReport {
        direction: "cutover".into(),
        state: "drained".into(),
        started_at: clock(-2.4),
        deadline: clock(117.6),
        fenced_at: Some(clock(-2.09)),
        drained_at: Some(clock(-1.9)),
        asked_at: clock(0.0),
        ..CutoverReport::default()
    };
    scene(Live { cutover: Some(report), ..live(State::Drained) }, window)
}

/// Everything that can be wrong at once.
pub fn trouble(window: Window) -> Scene {
    let error = Error::refused("TRUNCATE of landing_leads on Landing at 0/1A2B3C4D")
        .remedy(Message::verbatim("set [stream] on_truncate = \"apply\" to delete the rows on Traffic too, or restore the rows on Landing"));
    let waiting = Attention::new(
        Message::verbatim(
            "the hook of the cutover 00000000-0000-0000-0000-000000000000 has not succeeded: applications may still use \
         Landing",
        ),
        Message::verbatim(
            "run the hook with LEADBRIDGE_EVENT=switch; then `leadbridge cutover --hook-settled`",
        ),
    );
    let blocker = BlockingSession {
        side: Side::Traffic,
        pid: Some(4711),
        role: Some("reports".into()),
        application_name: Some("psql".into()),
        client_address: Some("10.0.0.7".into()),
        transaction_seconds: Some(1_830.0),
        waited_seconds: Some(124.0),
    };
    let rising = Trend {
        direction: TrendDirection::Rising,
        bytes_per_minute: 5e6,
        seconds_per_minute: 58.0,
        over_seconds: 60.0,
    };
    let survival = Survival {
        state: SurvivalState::Filling,
        side: Side::Landing,
        limit_bytes: Some(4 << 30),
        safe_bytes: Some(1 << 30),
        growth_bytes_per_second: Some(80_000.0),
        seconds_left: Some(13_200.0),
        seconds_left_if_stopped: Some(12_600.0),
    };
    let live = Live {
        lag_bytes: Some(210 << 20),
        lag_seconds: Some(1_850.0),
        quarantined: Some(1_204),
        attention: Some(vec![waiting]),
        blocked_by: Some(vec![blocker]),
        last_error: Some(LastError { at: clock(-95.0), ..LastError::new(&error) }),
        trend: Some(rising),
        survival: Some(survival),
        ..live(State::Error)
    };
    scene(live, window)
}
