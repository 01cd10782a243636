//! Stored screens: `screens` holds what each scene looks like, to be read in review. After a change that is meant,
//! `WRITE_SCREENS=1 cargo test --lib screen_tests` writes the files again.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use uuid::Uuid;

use super::look::Appearance;
use super::model::{Maxima, Model, Moment, ReadyAnswer, Round};
use super::screen;
use crate::commands::status::gather::WhoAnswered;
use crate::error::Error;
use crate::model::lsn::Lsn;
use crate::report::Attention;
use crate::telemetry::{
    CutoverReport, DaemonPresence, LastError, LeaseHolder, Live, ReverseReport, SlotReport, State,
    TableProgress,
};

const FULL: Appearance = Appearance { unicode: true, colours: true };
const PLAIN: Appearance = Appearance { unicode: false, colours: false };
const ALL: WhoAnswered = WhoAnswered { daemon: true, landing: true, traffic: true };

/// Seconds after the watch began, at noon.
fn moment(seconds: f64) -> Moment {
    let elapsed = Duration::from_secs_f64(seconds);
    Moment { elapsed, clock: clock(seconds) }
}

fn clock(seconds: f64) -> Timestamp {
    "2026-11-29T12:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs_f64(seconds)
}

fn slot() -> SlotReport {
    SlotReport {
        name: "leadbridge".into(),
        active: true,
        wal_status: Some("reserved".into()),
        retained_bytes: Some(1_300_000),
        safe_bytes: None,
        limit_bytes: None,
    }
}

fn live(state: State) -> Live {
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

fn round(live: Live) -> Round {
    let readiness = match live.state {
        State::Streaming | State::Switched => ReadyAnswer::Ready,
        state => ReadyAnswer::NotReady(format!("not streaming: {state}")),
    };
    Round { live, answered: ALL, readiness: Some(readiness), errors: Vec::new() }
}

/// A watch of two minutes over a stream with a lag that rose and fell.
fn streamed() -> Model {
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
fn then(live: Live) -> Model {
    let mut model = streamed();
    model.take(round(live), moment(121.0));
    model.tick(moment(121.4));
    model
}

fn cutover(state: &str, reached: usize) -> CutoverReport {
    let at = |place: usize, seconds: f64| (reached >= place).then(|| clock(119.0 + seconds));
    CutoverReport {
        id: Uuid::nil(),
        direction: "cutover".into(),
        state: state.into(),
        started_at: clock(119.0),
        deadline: clock(239.0),
        fenced_at: at(1, 0.312),
        drained_at: at(2, 0.498),
        verified_at: at(3, 1.204),
        hook_begun_at: None,
        hook_ended_at: None,
        finished_at: at(4, 1.377),
        lifted_at: None,
        reason: None,
        asked_at: clock(121.0),
    }
}

fn during(state: State, reached: usize) -> Model {
    let cutover = cutover(state.as_str(), reached);
    then(Live { cutover: Some(cutover), rows_applied: 22_940, ..live(state) })
}

fn switched() -> Model {
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
        cutover: Some(cutover("switched", 4)),
        rows_applied: 22_940,
        slot: Some(SlotReport { active: false, ..slot() }),
        ..live(State::Switched)
    })
}

fn snapshot() -> Model {
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

fn standby() -> Model {
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

fn failed() -> Model {
    let error = Error::refused("TRUNCATE of landing_leads on Landing at 0/1A2B3C4D")
        .remedy("set [stream] on_truncate = \"apply\" to delete the rows on Traffic too, or restore the rows on Landing");
    let error = LastError { at: clock(118.0), ..LastError::new(&error) };
    then(Live { last_error: Some(error), ..live(State::Error) })
}

/// The daemon was killed; both databases answer.
fn daemon_gone() -> Model {
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
fn all_gone() -> Model {
    let mut model = streamed();
    let seen = Live { daemon: DaemonPresence::Unknown, ..Live::stopped() };
    let errors = vec![
        "Landing at db.example.org:5432 cannot be reached: connection refused".to_owned(),
        "Traffic at db.example.net:5432 cannot be reached: connection refused".to_owned(),
    ];
    model.take(Round { live: seen, answered: WhoAnswered::default(), readiness: None, errors }, moment(150.0));
    model
}

/// A question that is not answered.
fn hanging() -> Model {
    let mut model = streamed();
    model.tick(moment(133.0));
    model
}

fn quarantine() -> Model {
    let waiting = Attention::new(
        "the hook of the cutover 00000000-0000-0000-0000-000000000000 has not succeeded: applications may still use \
         Landing",
        "run the hook with LEADBRIDGE_EVENT=switch; then `leadbridge cutover --hook-settled`",
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

fn drawn(model: &Model, look: Appearance, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(model, look, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

/// One character for each cell.
fn rows(buffer: &Buffer, shown: impl Fn(&Cell) -> String) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width).map(|row| row.iter().map(&shown).collect::<String>());
    rows.map(|row| row.trim_end().to_owned() + "\n").collect()
}

fn symbols(buffer: &Buffer) -> String {
    rows(buffer, |cell| cell.symbol().to_owned())
}

/// The first letter of the colour, large where the text is bold; `*` for bold text in the terminal's own colour.
fn colours(cell: &Cell) -> String {
    let is_bold = cell.modifier.contains(Modifier::BOLD);
    let letter = match cell.fg {
        Color::Reset if is_bold => "*",
        Color::Reset if cell.symbol() == " " => " ",
        Color::Reset => ".",
        Color::Red => "r",
        Color::Green => "g",
        Color::Magenta => "m",
        Color::Cyan => "c",
        other => panic!("{other} is not one of the colours that can be read everywhere"),
    };
    if is_bold { letter.to_uppercase() } else { letter.to_owned() }
}

/// Every scene in a small terminal, some in others.
fn scenes() -> Vec<(&'static str, Model, Appearance, (u16, u16))> {
    let small = (80, 24);
    let asking = Model::new(Maxima::default(), moment(0.0));
    vec![
        ("asking", asking, FULL, small),
        ("streaming", streamed(), FULL, small),
        ("streaming_ascii", streamed(), PLAIN, small),
        ("streaming_120x40", streamed(), FULL, (120, 40)),
        ("streaming_200x60", streamed(), FULL, (200, 60)),
        ("streaming_60x15", streamed(), FULL, (60, 15)),
        ("too_small", streamed(), FULL, (50, 10)),
        ("snapshot", snapshot(), FULL, small),
        ("standby", standby(), FULL, small),
        ("error", failed(), FULL, small),
        ("daemon_gone", daemon_gone(), FULL, small),
        ("all_gone", all_gone(), FULL, small),
        ("hanging", hanging(), FULL, small),
        ("fenced", during(State::Fenced, 1), FULL, small),
        ("drained", during(State::Drained, 2), FULL, small),
        ("verified", during(State::Verified, 3), FULL, small),
        ("switched", switched(), FULL, small),
        ("switched_120x40", switched(), FULL, (120, 40)),
        ("quarantine", quarantine(), FULL, small),
        ("quarantine_ascii", quarantine(), PLAIN, small),
    ]
}

fn compare(name: &str, actual: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/commands/status/watch/screens/{name}.txt"));
    if std::env::var_os("WRITE_SCREENS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == actual, "{name} is stored as\n{stored}\nand is now\n{actual}");
}

#[test]
fn every_scene_is_as_stored() {
    for (name, model, look, size) in scenes() {
        compare(name, &symbols(&drawn(&model, look, size)));
    }
}

#[test]
fn colours_repeat_what_the_words_say() {
    compare("error_colours", &rows(&drawn(&failed(), FULL, (80, 24)), colours));
    compare("daemon_gone_colours", &rows(&drawn(&daemon_gone(), FULL, (80, 24)), colours));
    for (name, model, _, size) in scenes() {
        let plain = drawn(&model, Appearance { colours: false, ..FULL }, size);
        assert_eq!(symbols(&plain), symbols(&drawn(&model, FULL, size)), "{name}");
        assert!(
            plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset),
            "{name}"
        );
    }
}

#[test]
fn without_unicode_every_character_is_ascii() {
    for (name, model, ..) in scenes() {
        assert!(symbols(&drawn(&model, PLAIN, (80, 24))).is_ascii(), "{name}");
    }
}

#[test]
fn an_old_figure_is_never_shown_as_a_new_one() {
    let gone = symbols(&drawn(&all_gone(), FULL, (80, 24)));
    for label in ["lag", "rate", "slot", "quarantine"] {
        let line = gone.lines().find(|line| line.starts_with(label)).unwrap();
        assert!(line.contains("OLD, of 12:02:00 UTC, 30 s ago: "), "{gone}");
    }
    assert!(!symbols(&drawn(&streamed(), FULL, (80, 24))).contains("OLD"));
    let hanging = symbols(&drawn(&hanging(), FULL, (80, 24)));
    assert!(hanging.contains("OLD, of 12:02:00 UTC, 13 s ago: STREAMING"), "{hanging}");
}

fn any_round() -> impl Strategy<Value = Round> {
    let lag = (any::<Option<u64>>(), proptest::option::of(any::<f64>()));
    let counts = (any::<u64>(), any::<u64>(), any::<Option<u64>>());
    let answered = any::<(bool, bool, bool)>();
    (0..State::ALL.len(), lag, counts, answered, any::<(bool, bool)>(), any::<i32>()).prop_map(
        |(state, lag, counts, (daemon, landing, traffic), (has_cutover, lost), started)| {
            let mut seen = live(State::ALL[state]);
            (seen.lag_bytes, seen.lag_seconds) = lag;
            (seen.rows_applied, seen.quarantined) = (counts.0, counts.2);
            (seen.landing_lsn, seen.applied_lsn) = (Some(Lsn(counts.1)), counts.2.map(Lsn));
            seen.snapshot = vec![TableProgress {
                table: "landing_leads".into(),
                rows_done: counts.1,
                rows_expected: counts.2,
                finished: lost,
            }];
            seen.started_at = Timestamp::from_second(i64::from(started)).ok();
            let mut report = cutover("fenced", 1);
            report.asked_at = Timestamp::from_second(i64::from(started)).unwrap();
            seen.cutover = has_cutover.then_some(report);
            seen.daemon = if lost { DaemonPresence::Unknown } else { DaemonPresence::Running };
            Round { answered: WhoAnswered { daemon, landing, traffic }, ..round(seen) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_sequence_of_answers_and_no_clock_makes_the_screen_panic(
        steps in proptest::collection::vec((any_round(), any::<Duration>(), any::<bool>(), any::<i32>()), 1..12),
        width in 0_u16..220,
        height in 0_u16..70,
    ) {
        let mut model = Model::new(Maxima { lag_bytes: Some(1), lag_seconds: Some(1.0) }, moment(0.0));
        for (round, elapsed, is_answer, second) in steps {
            let now = Moment { elapsed, clock: Timestamp::from_second(i64::from(second)).unwrap() };
            if is_answer { model.take(round, now) } else { model.tick(now) }
            let mut buffer = Buffer::empty(ratatui::layout::Rect::new(0, 0, width, height));
            screen::draw(&model, FULL, buffer.area, &mut buffer);
        }
    }
}
