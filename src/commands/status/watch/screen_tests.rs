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

use super::facts::facts;
use super::look::Appearance;
use super::model::{Maxima, Model, Moment, Round};
use super::scenes::{
    all_gone, daemon_gone, different, during, failed, hanging, moment, quarantine, round, snapshot, standby,
    streamed, switched, then,
};
use super::screen::{self, LABELS};
use crate::commands::status::gather::WhoAnswered;
use crate::error::Error;
use crate::language::{Language, message};
use crate::model::lsn::Lsn;
use crate::telemetry::scenes_for_tests::{cutover, live};
use crate::telemetry::{DaemonPresence, LastError, Live, State, TableProgress};

const FULL: Appearance = Appearance { unicode: true, colours: true, language: Language::English };
const PLAIN: Appearance = Appearance { unicode: false, colours: false, ..FULL };
const RUSSIAN: Appearance = Appearance { language: Language::Russian, ..FULL };

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
        ("different", different(), FULL, small),
        ("streaming_ru", streamed(), RUSSIAN, small),
        ("streaming_ru_60x15", streamed(), RUSSIAN, (60, 15)),
        ("snapshot_ru", snapshot(), RUSSIAN, small),
        ("switched_ru", switched(), RUSSIAN, small),
        ("daemon_gone_ru", daemon_gone(), RUSSIAN, small),
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
    for (name, model, look, size) in scenes() {
        let look = Appearance { unicode: true, ..look };
        let plain = drawn(&model, Appearance { colours: false, ..look }, size);
        let coloured = drawn(&model, Appearance { colours: true, ..look }, size);
        assert_eq!(symbols(&plain), symbols(&coloured), "{name}");
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

/// In columns: every letter of either language is one wide.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[test]
fn no_label_and_no_row_of_a_table_is_cut_in_any_language() {
    for (name, model, ..) in scenes() {
        for language in Language::ALL {
            for fact in facts(&model, language) {
                let (label, text) = (fact.label.in_language(language), fact.text.in_language(language));
                assert!(width(&label) < LABELS, "{label} in {name}");
                assert!(!fact.is_row || width(&text) <= 80, "{text} in {name}");
            }
        }
    }
}

#[test]
fn the_words_of_a_russian_screen_are_russian() {
    let words =
        ["STREAMING", "UTC", "leadbridge", "status", "WAL", "Landing", "GET", "readyz", "cutover", "dry-run"];
    let screen = symbols(&drawn(&streamed(), RUSSIAN, (80, 24)));
    let is_word = |word: &&str| word.chars().filter(char::is_ascii_alphabetic).count() > 3;
    for word in screen.split_whitespace().filter(is_word) {
        assert!(words.iter().any(|known| word.contains(known)) || word.contains("iB"), "{word} in {screen}");
    }
}

#[test]
fn the_remedy_of_the_last_error_is_in_the_language_of_the_screen() {
    let remedy = message!("error-remedy-disk-full");
    let error = LastError::new(&Error::refused("x").remedy(remedy.clone()));
    let model = then(Live { last_error: Some(error), ..live(State::Error) });
    for (look, language) in [(FULL, Language::English), (RUSSIAN, Language::Russian)] {
        let screen = symbols(&drawn(&model, look, (120, 40)));
        assert!(screen.contains(&remedy.in_language(language)), "{screen}");
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
            let mut report = cutover("cutover", "fenced", 1, 119.0);
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
