//! Scenes that the tests draw.

use super::parts::Scene;
use crate::language::Message;
use crate::report::Attention;
use crate::telemetry::columns::ChartColumn;
use crate::telemetry::http::Limits;
use crate::telemetry::past::Window;
use crate::telemetry::scenes_for_tests::{clock, cutover, live};
use crate::telemetry::{CutoverReport, LastError, Live, ReverseReport, State, TableProgress};

pub fn scene(live: Live) -> Scene {
    let window = Window::TenMinutes;
    let known = |place: usize| ChartColumn {
        lag_bytes: Some(place as u64 * 1000),
        lag_seconds: Some(place as f64 / 10.0),
        rows_per_second: Some(40.0),
    };
    let columns =
        (0..window.columns()).map(|place| if place < 20 { ChartColumn::default() } else { known(place) });
    let limits = Limits { max_lag_bytes: 64 << 20, max_lag_seconds: 60.0 };
    Scene { live, columns: columns.collect(), window, limits, now: clock(0.0) }
}

/// Every state, and what each of them may have besides.
pub fn all() -> Vec<Scene> {
    let mut scenes: Vec<_> = State::ALL.into_iter().map(|state| scene(live(state))).collect();
    for (direction, state, reached) in [
        ("cutover", "started", 0),
        ("cutover", "drained", 2),
        ("rollback", "rolled_back", 4),
        ("cutover", "switched", 4),
    ] {
        let cutover = Some(cutover(direction, state, reached, -2.0));
        scenes.push(scene(Live { cutover, ..live(State::Streaming) }));
    }
    let aborted = CutoverReport {
        finished_at: Some(clock(-1.0)),
        reason: Some("a hook failed".into()),
        hook_begun_at: Some(clock(-1.5)),
        ..cutover("cutover", "aborted", 1, -2.0)
    };
    let error =
        crate::error::Error::refused("TRUNCATE of landing_leads").remedy(Message::verbatim("see <docs>"));
    scenes.push(scene(Live {
        cutover: Some(aborted),
        attention: Some(vec![Attention::new(
            Message::verbatim("a fence is orphaned"),
            Message::verbatim("run leadbridge cutover"),
        )]),
        last_error: Some(LastError::new(&error)),
        quarantined: Some(1_204),
        ..live(State::Error)
    }));
    let table = |rows_done, rows_expected, finished| TableProgress {
        table: "landing_leads".into(),
        rows_done,
        rows_expected,
        finished,
    };
    scenes.push(scene(Live {
        snapshot: vec![
            table(7, Some(5), true),
            table(9, Some(4), false),
            table(0, Some(4), false),
            table(3, None, false),
        ],
        snapshot_seconds_left: Some(45.0),
        snapshot_indexes_left: Some(7),
        ..live(State::Snapshot)
    }));
    scenes.push(scene(Live { reverse: Some(ReverseReport::default()), ..live(State::Switched) }));
    scenes.push(scene(Live { finished_at: Some("2026-11-29".into()), ..live(State::Switched) }));
    scenes
}
