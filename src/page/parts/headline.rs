//! What a reader sees first: the state in words, and what is wrong.

use maud::{Markup, html};

use super::super::words::Words;
use super::{Scene, Tone, prose};
use crate::language::message;
use crate::language::written::date;
use crate::telemetry::{BlockingSession, DaemonPresence, LastError, Live, State};

/// The state's name, in capitals.
pub fn name(live: &Live, words: Words) -> String {
    if live.finished_at.is_some() {
        return words.say(message!("page-state-finished"));
    }
    words.say(match live.state {
        State::Starting => message!("page-state-starting"),
        State::Snapshot => message!("page-state-snapshot"),
        State::Streaming => message!("page-state-streaming"),
        State::Standby => message!("page-state-standby"),
        State::Fenced => message!("page-state-fenced"),
        State::Drained => message!("page-state-drained"),
        State::Verified => message!("page-state-verified"),
        State::Switched => message!("page-state-switched"),
        State::Stopped => message!("page-state-stopped"),
        State::Error => message!("page-state-error"),
    })
}

fn meaning(live: &Live, words: Words) -> String {
    if let Some(at) = &live.finished_at {
        return words.say(message!("page-meaning-finished", at = at));
    }
    words.say(match live.state {
        State::Starting => message!("page-meaning-starting"),
        State::Snapshot => message!("page-meaning-snapshot"),
        State::Streaming if live.lag_bytes == Some(0) => message!("page-meaning-up-to-date"),
        State::Streaming => message!("page-meaning-streaming"),
        State::Standby => message!("page-meaning-standby"),
        State::Fenced | State::Drained | State::Verified => message!("page-meaning-change"),
        State::Switched => message!("page-meaning-switched"),
        State::Stopped => message!("page-meaning-stopped"),
        State::Error => match live.last_error.as_ref().is_some_and(|error| error.retrying) {
            true => message!("page-meaning-retrying"),
            false => message!("page-meaning-error"),
        },
    })
}

fn tone(live: &Live) -> Tone {
    match live.state {
        _ if live.finished_at.is_some() => Tone::Good,
        State::Streaming | State::Switched => Tone::Good,
        State::Error | State::Stopped => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// The state and what it means.
pub fn state(scene: &Scene, words: Words) -> Markup {
    let live = &scene.live;
    html! {
        p class={ "state " (tone(live).class()) } {
            strong { (name(live, words)) }
            " "
            span { (meaning(live, words)) }
        }
    }
}

/// What a screen reader says by itself when it changes: no figure, because figures change each second.
pub fn announcement(scene: &Scene, words: Words) -> Markup {
    let live = &scene.live;
    let waiting = live.attention.as_ref().map_or(0, Vec::len);
    html! {
        (words.say(message!("page-announce-state", state = name(live, words)))) " "
        @if waiting > 0 { (words.say(message!("page-announce-attention", count = waiting))) " " }
        @if live.quarantined.is_some_and(|rows| rows > 0) { (words.say(message!("page-announce-quarantine"))) }
    }
}

/// What waits for an operator, who blocks, and the last error, whose text is English.
pub fn trouble(scene: &Scene, words: Words) -> Markup {
    let live = &scene.live;
    html! {
        @for attention in live.attention.iter().flatten() {
            div class="alert bad" {
                h2 { (words.say(message!("page-attention"))) }
                p { (prose(&words.say(attention.message.clone()))) }
                p { (words.say(message!("page-remedy"))) " " (prose(&words.say(attention.remedy.clone()))) }
            }
        }
        @for session in live.blocked_by.iter().flatten() {
            div class="alert bad" {
                h2 { (words.say(message!("page-blocked"))) }
                p { (blocked(session, words)) }
            }
        }
        @if let Some(error) = &live.last_error { (last_error(error, words)) }
        @if live.daemon == DaemonPresence::Running {
            @for channel in live.alerts.iter().flatten() {
                @if let Some(failure) = &channel.last_failure {
                    div class="alert" {
                        h2 { (words.say(message!("page-alert-channel", channel = &channel.channel))) }
                        p lang="en" { (failure) }
                        p { (words.say(message!("page-alert-waiting", waiting = channel.waiting, failed = channel.failed))) }
                    }
                }
            }
        }
    }
}

fn last_error(error: &LastError, words: Words) -> Markup {
    html! {
        div class="alert bad" {
            h2 { (words.say(message!("page-last-error", at = date(error.at)))) }
            p lang="en" { (prose(&error.message)) }
            @if error.retrying { p { (words.say(message!("page-retrying"))) } }
            @if let Some(remedy) = error.remedy_in(words.0) {
                p { (words.say(message!("page-remedy"))) " " (prose(&remedy)) }
            }
        }
    }
}

fn blocked(session: &BlockingSession, words: Words) -> String {
    let side = session.side;
    let mut parts = vec![match session.pid {
        Some(pid) => words.say(message!("page-blocked-process", pid = pid.to_string(), side = side)),
        None => words.say(message!("page-blocked-prepared", side = side)),
    }];
    let named = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    parts.extend(named(&session.role).map(|role| words.say(message!("page-blocked-role", role = role))));
    let application = named(&session.application_name);
    parts.extend(
        application.map(|name| words.say(message!("postgres-session-application", application = name))),
    );
    let address = named(&session.client_address);
    parts.extend(address.map(|address| words.say(message!("postgres-session-address", address = address))));
    let open = session.transaction_seconds.map(|seconds| words.duration(seconds));
    parts.extend(open.map(|time| words.say(message!("page-blocked-transaction", time = time))));
    let waited = session.waited_seconds.map(|seconds| words.duration(seconds));
    parts.extend(waited.map(|time| words.say(message!("postgres-session-waited", time = time))));
    parts.join(", ")
}
