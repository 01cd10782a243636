//! The parts of the page: HTML from the daemon's state, in one language; pure.

mod change;
mod charts;
mod details;
mod figures;
mod headline;
mod snapshot;

pub use charts::window_name;
use jiff::Timestamp;
use maud::{Markup, html};

use super::words::Words;
use crate::language::{message, written};
use crate::telemetry::columns::ChartColumn;
use crate::telemetry::http::Limits;
use crate::telemetry::past::Window;
use crate::telemetry::{Live, State};

/// Everything that the page shows at one moment.
#[derive(Clone, Debug)]
pub struct Scene {
    pub live: Live,
    /// The columns of `window`, the newest last.
    pub columns: Vec<ChartColumn>,
    pub window: Window,
    pub limits: Limits,
    /// This machine's clock.
    pub now: Timestamp,
}

impl Scene {
    /// The browser's title: the state first, because a tab is narrow.
    pub fn title(&self, words: Words) -> String {
        format!("{} · leadbridge", headline::name(&self.live, words))
    }
}

/// How a text is emphasised. Colours only repeat what the words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Bad,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Plain => "plain",
            Tone::Good => "good",
            Tone::Bad => "bad",
        }
    }
}

/// Each part with the id of the element that holds it. A part that says nothing is empty.
pub fn parts(scene: &Scene, words: Words) -> Vec<(&'static str, Markup)> {
    let is_finished = scene.live.finished_at.is_some();
    let unless_finished = |part: Markup| {
        if is_finished {
            html! {}
        } else {
            part
        }
    };
    let [lag, rows, bytes] = charts::charts(scene, words);
    vec![
        ("clock", as_of(scene, words)),
        ("announce", headline::announcement(scene, words)),
        ("state", headline::state(scene, words)),
        ("trouble", headline::trouble(scene, words)),
        ("steps", change::steps(scene, words)),
        ("figures", unless_finished(figures::figures(scene, words))),
        ("snapshot", snapshot::progress(scene, words)),
        ("chart-lag", lag),
        ("chart-rows", rows),
        ("chart-bytes", bytes),
        ("table", charts::table(scene, words)),
        ("readiness", change::readiness(scene, words)),
        ("details", details::details(scene, words)),
    ]
}

fn as_of(scene: &Scene, words: Words) -> Markup {
    let at = written::clock(scene.now);
    html! { (words.say(message!("page-as-of", at = at))) }
}

/// A text with its commands, which stand between backticks, set as such.
fn prose(text: &str) -> Markup {
    let pieces: Vec<_> = text.split('`').collect();
    html! {
        // A backtick without a second one is a character as every other.
        @if pieces.len().is_multiple_of(2) { (text) } @else {
            @for (place, piece) in pieces.iter().enumerate() {
                @if place % 2 == 1 { code { (piece) } } @else { (piece) }
            }
        }
    }
}

/// Whether the stream of either direction is meant to run, so that lag and rate mean something.
fn is_streaming(live: &Live) -> bool {
    !matches!(live.state, State::Snapshot | State::Starting | State::Standby | State::Stopped)
}

#[cfg(test)]
mod tests {
    use super::super::scenes_for_tests::{all, scene};
    use super::*;
    use crate::language::{Language, Message};
    use crate::telemetry::scenes_for_tests::{clock, cutover, live};
    use crate::telemetry::{CutoverReport, LastError};

    fn drawn(scene: &Scene, language: Language) -> String {
        parts(scene, Words(language)).into_iter().map(|(_, part)| part.into_string()).collect()
    }

    #[test]
    fn every_scene_can_be_read_in_both_languages() {
        for language in Language::ALL {
            for scene in all() {
                let html = drawn(&scene, language);
                // A text that is missing shows its id.
                assert!(!html.contains("page-"), "{language:?}: {html}");
            }
        }
    }

    #[test]
    fn a_command_between_backticks_is_set_as_code_and_a_single_backtick_is_kept() {
        assert_eq!(
            prose("run `leadbridge <x>` now").into_string(),
            "run <code>leadbridge &lt;x&gt;</code> now"
        );
        assert_eq!(prose("a ` b").into_string(), "a ` b");
        assert_eq!(prose("plain").into_string(), "plain");
    }

    #[test]
    fn a_text_from_elsewhere_is_shown_as_it_is_and_never_as_html() {
        let error =
            crate::error::Error::refused("<script>alert(1)</script>").remedy(Message::verbatim("\"&<b>"));
        let html = drawn(
            &scene(Live { last_error: Some(LastError::new(&error)), ..live(State::Error) }),
            Language::Russian,
        );
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn a_fence_that_may_still_stand_is_named_though_no_fence_was_recorded() {
        let aborted =
            CutoverReport { finished_at: Some(clock(-1.0)), ..cutover("cutover", "aborted", 0, -2.0) };
        let drawn = |lifted_at| {
            let cutover = Some(CutoverReport { lifted_at, ..aborted.clone() });
            drawn(&scene(Live { cutover, ..live(State::Streaming) }), Language::English)
        };
        assert!(drawn(None).contains("THE FENCE IS NOT RECORDED AS LIFTED YET"));
        assert!(!drawn(Some(clock(-0.5))).contains("fence was lifted"));
    }

    #[test]
    fn a_figure_that_is_not_known_is_never_shown_as_none() {
        let unknown =
            Live { lag_bytes: None, lag_seconds: None, quarantined: None, ..live(State::Streaming) };
        let html = drawn(&scene(unknown), Language::English);
        assert!(html.contains("not known") && !html.contains(">empty</span>"), "{html}");
    }
}
