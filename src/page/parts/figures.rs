//! The figures that a reader compares at a glance.

use maud::{Markup, html};

use super::super::words::Words;
use super::{Scene, Tone, is_streaming, prose};
use crate::language::message;
use crate::language::written::{clock_minutes, date, grouped};
use crate::telemetry::outlook::{CatchUpState, FAR, SlotLimits, Survival, SurvivalState, TrendDirection};
use crate::telemetry::{Live, State, VerificationActivity};

struct Figure {
    label: String,
    value: String,
    notes: Vec<String>,
    tone: Tone,
}

impl Figure {
    fn new(label: String, value: String) -> Self {
        Figure { label, value, notes: Vec::new(), tone: Tone::Plain }
    }
}

pub fn figures(scene: &Scene, words: Words) -> Markup {
    let all = [
        lag(scene, words),
        rate(&scene.live, words),
        survival(&scene.live, words),
        quarantine(&scene.live, words),
    ];
    let all = all.into_iter().chain(verification(scene, words));
    html! {
        dl class="figures" {
            @for figure in all {
                div class={ "figure " (figure.tone.class()) } {
                    dt { (figure.label) }
                    dd {
                        span class="value" { (figure.value) }
                        @for note in &figure.notes { span class="note" { (prose(note)) } }
                    }
                }
            }
        }
    }
}

fn unknown(words: Words) -> String {
    words.say(message!("figures-not-known"))
}

fn lag(scene: &Scene, words: Words) -> Figure {
    let live = &scene.live;
    let label = words.say(message!("page-lag"));
    let mut figure = match (live.lag_bytes, live.lag_seconds) {
        (Some(0), _) => Figure::new(label, words.say(message!("page-lag-none"))),
        (Some(bytes), Some(seconds)) => {
            let figure = Figure::new(label, words.duration(seconds));
            Figure { notes: vec![words.size(bytes)], ..figure }
        }
        (Some(bytes), None) => Figure::new(label, words.size(bytes)),
        (None, _) => Figure::new(label, unknown(words)),
    };
    figure.notes.extend(trend(live, words));
    figure.notes.extend(catch_up(live, words));
    let limits = scene.limits;
    let over_bytes = limits.bytes_over(live).map(|_| words.size(limits.max_lag_bytes));
    let over_seconds = limits.seconds_over(live).map(|_| words.duration(limits.max_lag_seconds));
    for limit in over_bytes.into_iter().chain(over_seconds) {
        figure.notes.push(words.say(message!("page-over-limit", limit = limit)));
        figure.tone = Tone::Bad;
    }
    figure
}

fn trend(live: &Live, words: Words) -> Option<String> {
    let trend = live.trend.filter(|_| live.lag_bytes.is_some_and(|bytes| bytes > 0))?;
    let by = words.duration(trend.seconds_per_minute.abs());
    Some(words.say(match trend.direction {
        TrendDirection::Rising => message!("figures-rising", time = by),
        TrendDirection::Falling => message!("figures-falling", time = by),
        TrendDirection::Steady => message!("figures-steady"),
    }))
}

fn catch_up(live: &Live, words: Words) -> Option<String> {
    let catch_up = live.catch_up?;
    match (catch_up.state, catch_up.seconds) {
        (CatchUpState::KeepsUp, _) => None,
        (CatchUpState::CatchingUp, Some(seconds)) => {
            Some(words.say(message!("page-catch-up", time = within(seconds, words))))
        }
        (CatchUpState::CatchingUp | CatchUpState::FallingBehind, _) => {
            Some(words.say(message!("page-catch-up-never")))
        }
    }
}

fn within(seconds: f64, words: Words) -> String {
    if seconds > FAR { words.say(message!("page-far")) } else { words.duration(seconds) }
}

fn rate(live: &Live, words: Words) -> Figure {
    let rows = match live.state {
        State::Snapshot => live.snapshot_rows_per_second,
        _ => live.rate.and_then(|rate| rate.rows_per_second).filter(|_| is_streaming(live)),
    };
    let label = words.say(message!("page-rate"));
    let mut figure = match rows {
        Some(rows) => {
            let rows = grouped(rows.max(0.0).round() as u64);
            Figure::new(label, words.say(message!("figures-rows-per-second", rows = rows)))
        }
        None => Figure::new(label, unknown(words)),
    };
    let source = live.survival.map(|survival| survival.side);
    if let (Some(rate), Some(source)) = (live.rate, source) {
        let wal = words.rate(rate.wal_bytes_per_second);
        figure.notes.push(words.say(message!("figures-wal-per-second", source = source, wal = wal)));
    }
    let total = grouped(live.rows_applied);
    if let Some(at) = live.started_at.filter(|_| live.state != State::Snapshot) {
        figure.notes.push(words.say(message!("page-rows-since", rows = total, at = date(at))));
    }
    figure
}

/// How long the slot survives.
fn survival(live: &Live, words: Words) -> Figure {
    let label = words.say(message!("page-survival"));
    let Some(survival) = live.survival else { return Figure::new(label, unknown(words)) };
    let side = survival.side;
    let retained = SlotLimits::of(live, side).and_then(|slot| slot.retained_bytes);
    let mut figure = match survival.state {
        SurvivalState::Lost => Figure::new(label, words.say(message!("page-survival-lost"))),
        SurvivalState::Unreserved => Figure::new(label, words.say(message!("page-survival-unreserved"))),
        SurvivalState::NoLimit => Figure::new(label, words.say(message!("page-survival-no-limit"))),
        SurvivalState::Unknown => Figure::new(label, unknown(words)),
        SurvivalState::NotFilling => Figure::new(label, words.say(message!("page-survival-not-filling"))),
        SurvivalState::Filling => Figure::new(label, within(survival.seconds_left.unwrap_or(0.0), words)),
    };
    let retained = retained.map(|bytes| words.size(bytes));
    figure.notes.extend(retained.map(|wal| words.say(message!("page-retained", side = side, wal = wal))));
    figure.notes.extend(advice(survival, words));
    if matches!(survival.state, SurvivalState::Lost | SurvivalState::Unreserved) {
        figure.tone = Tone::Bad;
    }
    figure
}

/// What follows from the slot's state.
fn advice(survival: Survival, words: Words) -> Vec<String> {
    let (safe, limit) = (words.size(survival.left_bytes()), words.size(survival.limit_bytes.unwrap_or(0)));
    let left = words.say(message!("page-survival-left", safe = safe, limit = limit));
    let if_stopped = survival
        .seconds_left_if_stopped
        .map(|seconds| words.say(message!("page-survival-if-stopped", time = within(seconds, words))));
    match survival.state {
        SurvivalState::Lost => vec![words.say(message!("page-survival-lost-remedy"))],
        SurvivalState::Unreserved => vec![words.say(message!("page-survival-unreserved-remedy"))],
        SurvivalState::NoLimit => vec![words.say(message!("page-survival-no-limit-note"))],
        SurvivalState::Unknown | SurvivalState::NotFilling | SurvivalState::Filling => {
            [Some(left), if_stopped].into_iter().flatten().collect()
        }
    }
}

fn quarantine(live: &Live, words: Words) -> Figure {
    let label = words.say(message!("page-quarantine"));
    let mut figure = match live.quarantined {
        None => Figure::new(label, unknown(words)),
        Some(0) => Figure::new(label, words.say(message!("page-quarantine-empty"))),
        Some(rows) => {
            let figure = Figure::new(label, words.rows(rows));
            Figure { notes: vec![words.say(message!("page-quarantine-remedy"))], tone: Tone::Bad, ..figure }
        }
    };
    let reverse = live.reverse.as_ref().and_then(|reverse| reverse.quarantined).filter(|rows| *rows > 0);
    if let Some(rows) = reverse {
        let rows = message!("page-quarantine-reverse", count = rows, rows = grouped(rows));
        figure.notes.push(words.say(rows));
        figure.tone = Tone::Bad;
    }
    if let Some(notes) = live.conversion_notes {
        let notes = message!("page-conversion-notes", count = notes, values = grouped(notes));
        figure.notes.push(words.say(notes));
    }
    figure
}

/// What background verification knows; `None` where it is off.
fn verification(scene: &Scene, words: Words) -> Option<Figure> {
    let report = scene.live.verification.as_ref()?;
    if report.activity == VerificationActivity::Off {
        return None;
    }
    let label = words.say(message!("page-verified"));
    let mut figure = match report.unexplained() {
        _ if scene.live.state == State::Switched => {
            Figure::new(label, words.say(message!("page-verified-rests")))
        }
        None => Figure::new(label, unknown(words)),
        Some(0) => Figure::new(label, words.say(message!("page-verified-equal"))),
        Some(rows) => {
            let value = message!("page-verified-differ", count = rows, rows = grouped(rows));
            let figure = Figure::new(label, words.say(value));
            Figure { notes: vec![words.say(message!("page-verified-remedy"))], tone: Tone::Bad, ..figure }
        }
    };
    figure.notes.extend(report.last.as_ref().map(|last| {
        let (rows, at) = (grouped(last.rows), clock_minutes(last.ended_at));
        words.say(message!("page-verified-round", rows = rows, at = at))
    }));
    Some(figure)
}
