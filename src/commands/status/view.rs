//! The document as text, for a person who may have just been woken: the most important lines come first.

use std::fmt::Write as _;

use bytesize::ByteSize;

use super::{outlook, verification};
use crate::language::written::{duration, per_cent};
use crate::language::{Argument, Language, Message, message};
use crate::model::side::Side;
use crate::report::Attention;
use crate::telemetry::{
    AlertChannelReport, DaemonPresence, LeaseHolder, Live, ReverseReport, SlotReport, State, TableProgress,
};

/// A few aligned lines.
pub fn text(live: &Live, language: Language) -> String {
    let mut lines = Lines { text: String::new(), language };
    lines.add(message!("commands-label-state"), state(live));
    if live.finished_at.is_some() {
        return lines.text;
    }
    if let Some(holder) = live.lease_holder.as_ref().filter(|_| is_held_elsewhere(live)) {
        lines.add(message!("commands-label-lease"), lease(holder));
    }
    let lag = [Some(lag(live)), outlook::trend(live)];
    lines.add(message!("commands-label-lag"), Message::joined(lag.into_iter().flatten(), ", "));
    lines.add(message!("commands-label-slot"), slot(live));
    for (kind, text) in outlook::lines(live) {
        lines.add(kind.label(), text);
    }
    if let Some(back) = &live.reverse {
        add_reverse(&mut lines, back);
    }
    if live.state == State::Snapshot {
        snapshot(&mut lines, live);
    }
    lines.add(message!("commands-label-quarantine"), quarantine(live));
    for (line, text) in verification::lines(live, jiff::Timestamp::now()) {
        lines.add(line.label(), text);
    }
    for column in live.columns_not_replicated.iter().flatten() {
        lines.add(message!("commands-label-left-out"), Message::verbatim(column));
    }
    add_trouble(&mut lines, live);
    lines.text
}

fn add_reverse(lines: &mut Lines, back: &ReverseReport) {
    lines.add(message!("commands-label-reverse"), reverse_line(back));
    if let Some(at) = &back.new_slot_since {
        lines.add(message!("commands-label-new-slot"), made_again_since(at));
    } else if let Some(at) = &back.new_slot_made_at {
        lines.add(message!("commands-label-new-slot"), message!("commands-slot-made-again-at", at = at));
    }
    if let Some(what) = &back.landing_publication {
        lines.add(message!("commands-label-publication"), Message::verbatim(what));
    }
}

pub(super) fn made_again_since(at: &str) -> Message {
    message!("commands-slot-made-again-since", at = at)
}

/// What waits for an operator, alerts that are not delivered, and the last error.
fn add_trouble(lines: &mut Lines, live: &Live) {
    for Attention { message, remedy } in live.attention.iter().flatten() {
        lines.add(message!("commands-label-attention"), message.clone());
        lines.add(Message::verbatim(""), message!("error-what-to-do", remedy = remedy));
    }
    for channel in live.alerts.iter().flatten() {
        if let Some(failure) = &channel.last_failure {
            let AlertChannelReport { channel, waiting, failed, .. } = channel;
            let says = message!(
                "commands-alerts-failing",
                channel = channel,
                failure = failure,
                waiting = waiting,
                failed = failed
            );
            lines.add(message!("commands-label-alerts"), says);
        }
    }
    if let Some(error) = &live.last_error {
        let says = match error.retrying {
            true => message!("commands-error-retrying", error = &error.message),
            false => Message::verbatim(&error.message),
        };
        lines.add(message!("commands-label-last-error"), says);
        if let Some(remedy) = error.remedy_in(lines.language) {
            lines.add(message!("commands-label-what-to-do"), Message::verbatim(remedy));
        }
    }
}

struct Lines {
    text: String,
    language: Language,
}

impl Lines {
    fn add(&mut self, name: Message, value: Message) {
        let (name, value) = (name.in_language(self.language), value.in_language(self.language));
        // Writing to a String cannot fail. A letter of either language is one column wide.
        let _ = writeln!(self.text, "{name:<12}{value}");
    }
}

pub(super) fn state(live: &Live) -> Message {
    if let Some(at) = &live.finished_at {
        return message!("commands-state-finished", at = at);
    }
    let meaning = match (live.state, live.daemon) {
        (State::Stopped, DaemonPresence::Unknown) => message!("commands-state-stopped-or-elsewhere"),
        (State::Stopped, _) => message!("commands-state-stopped"),
        (_, DaemonPresence::Elsewhere) => message!("commands-state-elsewhere"),
        (State::Starting, _) => message!("commands-state-starting"),
        (State::Snapshot, _) => message!("commands-state-snapshot"),
        (State::Streaming, _) if live.lag_bytes == Some(0) => message!("commands-state-up-to-date"),
        (State::Streaming, _) => message!("commands-state-streaming"),
        (State::Standby, _) => message!("commands-state-standby"),
        (State::Fenced | State::Drained | State::Verified, DaemonPresence::Down) => {
            message!("commands-state-undecided")
        }
        (State::Fenced | State::Drained | State::Verified, _) => message!("commands-state-under-way"),
        (State::Switched, DaemonPresence::Down) if live.reverse.is_some() => {
            message!("commands-state-switched-alone")
        }
        (State::Switched, _) => message!("commands-state-switched"),
        (State::Error, _) => message!("commands-state-error"),
    };
    Message::joined([Message::verbatim(live.state.as_str().to_uppercase()), meaning], " — ")
}

/// Whether another process than a daemon that answers here has the lease.
pub(super) fn is_held_elsewhere(live: &Live) -> bool {
    live.state == State::Standby || live.daemon != DaemonPresence::Running
}

pub(super) fn lease(holder: &LeaseHolder) -> Message {
    let LeaseHolder { pid, role, application_name, client_address, since, .. } = holder;
    let held = match pid {
        Some(pid) => message!("commands-lease-process", pid = pid.to_string()),
        None => message!("commands-lease-prepared"),
    };
    let since = since.as_ref().map(|since| message!("figures-since", since = since));
    let rest = facts(application_name.as_ref(), client_address.as_ref()).chain(since);
    Message::joined([of_role(held, role.as_ref())].into_iter().chain(rest), ", ")
}

/// The session, with its role.
pub(super) fn of_role(session: Message, role: Option<&String>) -> Message {
    let role = role.map(|role| message!("commands-session-role", role = role));
    Message::joined([Some(session), role].into_iter().flatten(), " ")
}

/// Application and address of a session, as far as they are known.
pub(super) fn facts(application: Option<&String>, address: Option<&String>) -> impl Iterator<Item = Message> {
    let application =
        application.map(|application| message!("postgres-session-application", application = application));
    let address = address.map(|address| message!("postgres-session-address", address = address));
    [application, address].into_iter().flatten()
}

pub(super) fn lag(live: &Live) -> Message {
    let Some(bytes) = live.lag_bytes else { return message!("figures-not-known") };
    let size = ByteSize(bytes).display().iec().to_string();
    match (bytes, live.lag_seconds, live.lag_is_estimate) {
        (_, None, _) => message!("commands-lag-bytes", bytes = size),
        (0, ..) => message!("commands-lag-none"),
        (_, Some(seconds), false) => {
            message!("commands-lag-exact", time = duration(seconds), bytes = size)
        }
        (_, Some(seconds), true) => {
            message!("commands-lag-at-most", time = duration(seconds), bytes = size)
        }
    }
}

pub(super) fn slot(live: &Live) -> Message {
    match &live.slot {
        Some(slot) => existing_slot(slot),
        // An answer with Landing's position also contains the slot, if the slot exists.
        None if live.landing_lsn.is_some() => message!("commands-slot-none"),
        None => message!("figures-not-known"),
    }
}

fn existing_slot(slot: &SlotReport) -> Message {
    let kept = (slot.active, slot.retained_bytes);
    one_slot(Side::Landing, &slot.name, slot.wal_status.as_deref(), kept)
}

/// A slot of `side`, with whether it is active and how much WAL it keeps.
fn one_slot(side: Side, name: &str, wal_status: Option<&str>, kept: (bool, Option<u64>)) -> Message {
    let usage = match kept.0 {
        true => message!("commands-slot-in-use"),
        false => message!("commands-slot-not-in-use"),
    };
    match (wal_status, kept.1) {
        (Some("lost"), _) => message!("commands-slot-lost", slot = name, side = side),
        (_, Some(bytes)) => message!(
            "commands-slot-keeps",
            slot = name,
            usage = usage,
            bytes = ByteSize(bytes).display().iec().to_string(),
            side = side
        ),
        (_, None) => message!("commands-slot-plain", slot = name, usage = usage),
    }
}

pub(super) fn reverse_line(reverse: &ReverseReport) -> Message {
    let waiting = reverse
        .quarantined
        .filter(|rows| *rows > 0)
        .map(|rows| message!("commands-slot-reverse-quarantined", rows = Argument::Grouped(rows)));
    let kept = (reverse.active, reverse.retained_bytes);
    let slot = match reverse.wal_status.as_deref() {
        None => message!("commands-slot-reverse-gone", slot = &reverse.slot),
        status => one_slot(Side::Traffic, &reverse.slot, status, kept),
    };
    Message::joined([Some(slot), waiting].into_iter().flatten(), "; ")
}

pub(super) fn quarantine(live: &Live) -> Message {
    let rows = match live.quarantined {
        None => return message!("figures-not-known"),
        Some(0) => message!("commands-quarantine-empty"),
        Some(rows) => message!("commands-quarantine-rows", rows = Argument::Grouped(rows)),
    };
    let notes = live
        .conversion_notes
        .map(|notes| message!("commands-quarantine-notes", notes = Argument::Grouped(notes)));
    Message::joined([Some(rows), notes].into_iter().flatten(), "; ")
}

fn snapshot(lines: &mut Lines, live: &Live) {
    for table in &live.snapshot {
        let name = Message::verbatim(format!("{:<24}", table.table));
        lines.add(message!("commands-label-copied"), Message::joined([name, progress(table)], ""));
    }
    if let Some(rate) = live.snapshot_rows_per_second {
        let rate = message!("figures-rows-per-second", rows = format!("{rate:.0}"));
        let left = live.snapshot_seconds_left.map(|left| message!("figures-left", time = duration(left)));
        lines.add(Message::verbatim(""), Message::joined([Some(rate), left].into_iter().flatten(), ", "));
    }
    if let Some(left) = live.snapshot_indexes_left.filter(|left| *left > 0) {
        lines.add(message!("commands-label-indexes"), message!("commands-snapshot-indexes", left = left));
    }
}

fn progress(table: &TableProgress) -> Message {
    let rows = Argument::Grouped(table.rows_done);
    match table.rows_expected {
        _ if table.finished => message!("figures-done", what = message!("figures-rows", rows = rows)),
        Some(expected) if expected > 0 => {
            message!(
                "commands-snapshot-part",
                rows = rows,
                expected = Argument::Grouped(expected),
                percent = per_cent(table.rows_done, expected)
            )
        }
        _ => message!("figures-rows", rows = rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_state_and_the_last_says_what_to_do() {
        let mut live = Live::stopped();
        let error = crate::error::Error::refused("the slot is gone")
            .remedy(Message::verbatim("run `leadbridge resync`"));
        live.last_error = Some(crate::telemetry::LastError::new(&error));
        let text = text(&live, Language::English);
        assert!(text.starts_with("state       STOPPED"), "{text}");
        assert!(text.ends_with("what to do  run `leadbridge resync`\n"), "{text}");
    }

    #[test]
    fn a_snapshot_never_claims_to_be_complete_before_it_is() {
        let table = |rows_done, finished| TableProgress {
            table: "landing_leads".into(),
            rows_done,
            rows_expected: Some(100),
            finished,
        };
        assert!(progress(&table(150, false)).to_string().contains("99 %"));
        assert!(progress(&table(150, true)).to_string().ends_with("done"));
        let copied = vec![table(150, true)];
        let finished = Live { state: State::Snapshot, snapshot: copied, ..Live::starting() };
        let said = |left| text(&Live { snapshot_indexes_left: left, ..finished.clone() }, Language::English);
        assert!(said(Some(7)).contains("indexes     7 left out on Traffic until every row is copied"));
        for left in [None, Some(0)] {
            assert!(!said(left).contains("indexes"));
        }
    }
}
