//! The document as text, for a person who may have just been woken: the most important lines come first.

use std::fmt::Write as _;

use bytesize::ByteSize;

use super::outlook;
use crate::report::Attention;
use crate::telemetry::written::TimeSpan;
pub(super) use crate::telemetry::written::thousands;
use crate::telemetry::{
    AlertChannelReport, DaemonPresence, LeaseHolder, Live, ReverseReport, SlotReport, State, TableProgress,
};

/// A few aligned lines.
pub fn text(live: &Live) -> String {
    let mut lines = Lines(String::new());
    lines.add("state", &state(live));
    if live.finished_at.is_some() {
        return lines.0;
    }
    if let Some(holder) = live.lease_holder.as_ref().filter(|_| is_held_elsewhere(live)) {
        lines.add("lease", &lease(holder));
    }
    lines.add("lag", &(lag(live) + &outlook::trend(live)));
    lines.add("slot", &slot(live));
    for (name, value) in outlook::lines(live) {
        lines.add(name, &value);
    }
    if let Some(back) = &live.reverse {
        lines.add("reverse", &reverse_line(back));
        if let Some(at) = &back.new_slot_since {
            lines.add("new slot", &format!("Landing's slot is lost, and is being made again since {at}"));
        } else if let Some(at) = &back.new_slot_made_at {
            lines.add("new slot", &format!("Landing's slot was lost, and made again at {at}"));
        }
        if let Some(what) = &back.landing_publication {
            lines.add("publication", what);
        }
    }
    if live.state == State::Snapshot {
        snapshot(&mut lines, live);
    }
    lines.add("quarantine", &quarantine(live));
    for column in live.columns_not_replicated.iter().flatten() {
        lines.add("left out", column);
    }
    for Attention { message, remedy } in live.attention.iter().flatten() {
        lines.add("ATTENTION", message);
        lines.add("", &format!("what to do: {remedy}"));
    }
    for channel in live.alerts.iter().flatten() {
        if let Some(failure) = &channel.last_failure {
            let AlertChannelReport { channel, waiting, failed, .. } = channel;
            lines.add(
                "alerts",
                &format!("{channel} does not work: {failure}; {waiting} wait, {failed} were given up"),
            );
        }
    }
    if let Some(error) = &live.last_error {
        let again = if error.retrying { " (the daemon tries again by itself)" } else { "" };
        lines.add("last error", &format!("{}{again}", error.message));
        if let Some(remedy) = &error.remedy {
            lines.add("what to do", remedy);
        }
    }
    lines.0
}

struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name:<12}{value}");
    }
}

pub(super) fn state(live: &Live) -> String {
    if let Some(at) = &live.finished_at {
        return format!("FINISHED — Traffic has all leads since {at}; nothing is left to replicate");
    }
    let meaning = match (live.state, live.daemon) {
        (State::Stopped, DaemonPresence::Unknown) => "no daemon answers here; one may run elsewhere",
        (State::Stopped, _) => "no daemon runs; start it with `leadbridge run`",
        (_, DaemonPresence::Elsewhere) => "a daemon runs on another machine, or with HTTP off",
        (State::Starting, _) => "the daemon compares its positions",
        (State::Snapshot, _) => "the first copy is under way",
        (State::Streaming, _) if live.lag_bytes == Some(0) => "up to date",
        (State::Streaming, _) => "changes flow",
        (State::Standby, _) => {
            "standby: another daemon replicates; this daemon takes over when the other ends"
        }
        (State::Fenced | State::Drained | State::Verified, DaemonPresence::Down) => {
            "a cutover or a rollback was begun and is not decided; no daemon runs here to settle it: start \
             `leadbridge run`"
        }
        (State::Fenced | State::Drained | State::Verified, _) => "a cutover or a rollback is under way",
        (State::Switched, DaemonPresence::Down) if live.reverse.is_some() => {
            "Traffic is the system of record now; no daemon replicates its changes to Landing: start \
             `leadbridge run`"
        }
        (State::Switched, _) => "Traffic is the system of record now",
        (State::Error, _) => "the replication does not flow",
    };
    format!("{} — {meaning}", live.state.as_str().to_uppercase())
}

/// Whether another process than a daemon that answers here has the lease.
pub(super) fn is_held_elsewhere(live: &Live) -> bool {
    live.state == State::Standby || live.daemon != DaemonPresence::Running
}

pub(super) fn lease(holder: &LeaseHolder) -> String {
    let LeaseHolder { pid, role, application_name, client_address, since, .. } = holder;
    let mut text = match pid {
        Some(pid) => format!("held by process {pid}"),
        None => "held by a prepared transaction".to_owned(),
    };
    let parts = [
        (" of role ", role),
        (", application ", application_name),
        (", from ", client_address),
        (", since ", since),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            text += &format!("{name}{value}");
        }
    }
    text
}

pub(super) fn lag(live: &Live) -> String {
    let (Some(bytes), Some(seconds)) = (live.lag_bytes, live.lag_seconds) else {
        return match live.lag_bytes {
            Some(bytes) => format!("{} behind", ByteSize(bytes).display().iec()),
            None => "not known".to_owned(),
        };
    };
    match (bytes, live.lag_is_estimate) {
        (0, _) => "none".to_owned(),
        (_, false) => format!("{} ({})", duration(seconds), ByteSize(bytes).display().iec()),
        (_, true) => format!(
            "at most {} ({}, other tables' writes included)",
            duration(seconds),
            ByteSize(bytes).display().iec()
        ),
    }
}

pub(super) fn slot(live: &Live) -> String {
    match &live.slot {
        Some(slot) => existing_slot(slot),
        // An answer with Landing's position also contains the slot, if the slot exists.
        None if live.landing_lsn.is_some() => "none on Landing".to_owned(),
        None => "not known".to_owned(),
    }
}

fn existing_slot(slot: &SlotReport) -> String {
    let active = if slot.active { "in use" } else { "not in use" };
    match (slot.wal_status.as_deref(), slot.retained_bytes) {
        (Some("lost"), _) => format!("{}: LOST, Landing has dropped WAL that it needed", slot.name),
        (_, Some(bytes)) => {
            format!("{}: {active}, keeps {} of WAL on Landing", slot.name, ByteSize(bytes).display().iec())
        }
        (_, None) => format!("{}: {active}", slot.name),
    }
}

pub(super) fn reverse_line(reverse: &ReverseReport) -> String {
    let waiting = match reverse.quarantined {
        None | Some(0) => String::new(),
        Some(rows) => format!("; {} rows wait in leadbridge.reverse_quarantine", thousands(rows)),
    };
    let active = if reverse.active { "in use" } else { "not in use" };
    let slot = match (reverse.wal_status.as_deref(), reverse.retained_bytes) {
        (None, _) => format!("{}: gone, reverse replication is impossible now", reverse.slot),
        (Some("lost"), _) => format!("{}: LOST, Traffic has dropped WAL that it needed", reverse.slot),
        (_, Some(bytes)) => {
            format!("{}: {active}, keeps {} of WAL on Traffic", reverse.slot, ByteSize(bytes).display().iec())
        }
        (_, None) => format!("{}: {active}", reverse.slot),
    };
    slot + &waiting
}

pub(super) fn quarantine(live: &Live) -> String {
    let notes =
        live.conversion_notes.map(|notes| format!("; {} values were changed on the way", thousands(notes)));
    let notes = notes.unwrap_or_default();
    match live.quarantined {
        None => "not known".to_owned(),
        Some(0) => format!("empty{notes}"),
        Some(1) => format!("1 row waits: see `leadbridge quarantine list`{notes}"),
        Some(rows) => format!("{} rows wait: see `leadbridge quarantine list`{notes}", thousands(rows)),
    }
}

fn snapshot(lines: &mut Lines, live: &Live) {
    for table in &live.snapshot {
        lines.add("copied", &format!("{:<24}{}", table.table, progress(table)));
    }
    if let Some(rate) = live.snapshot_rows_per_second {
        let left = live.snapshot_seconds_left.map(|left| format!(", about {} left", duration(left)));
        lines.add("", &format!("{rate:.0} rows/s{}", left.unwrap_or_default()));
    }
    if let Some(left) = live.snapshot_indexes_left.filter(|left| *left > 0) {
        lines.add("indexes", &format!("{left} left out on Traffic until every row is copied"));
    }
}

fn progress(table: &TableProgress) -> String {
    let done = thousands(table.rows_done);
    match table.rows_expected {
        _ if table.finished => format!("{done} rows, done"),
        Some(expected) if expected > 0 => {
            // An estimate may be too low: 100 % is reserved for a finished table.
            let percent = (table.rows_done as f64 / expected as f64 * 100.0).min(99.0);
            format!("{done} of about {} rows ({percent:.0} %)", thousands(expected))
        }
        _ => format!("{done} rows"),
    }
}

/// `0.3 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub(super) fn duration(seconds: f64) -> String {
    match TimeSpan::of(seconds) {
        TimeSpan::Tenths(seconds) => format!("{seconds:.1} s"),
        TimeSpan::Seconds(seconds) => format!("{seconds} s"),
        TimeSpan::Minutes(minutes, seconds) => format!("{minutes} min {seconds} s"),
        TimeSpan::Hours(hours, minutes) => format!("{hours} h {minutes} min"),
        TimeSpan::Days(days, hours) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!(thousands(1_234_567), "1\u{a0}234\u{a0}567");
        assert_eq!(thousands(999), "999");
        let shown: Vec<_> = [0.25, 42.4, 185.0, 7800.0, 273_600.0].map(duration).into();
        assert_eq!(shown, ["0.2 s", "42 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"]);
    }

    #[test]
    fn the_first_line_is_the_state_and_the_last_says_what_to_do() {
        let mut live = Live::stopped();
        let error = crate::error::Error::refused("the slot is gone").remedy("run `leadbridge resync`");
        live.last_error = Some(crate::telemetry::LastError::new(&error));
        let text = text(&live);
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
        assert!(progress(&table(150, false)).contains("99 %"));
        assert!(progress(&table(150, true)).ends_with("done"));
        let copied = vec![table(150, true)];
        let finished = Live { state: State::Snapshot, snapshot: copied, ..Live::starting() };
        let said = |left| text(&Live { snapshot_indexes_left: left, ..finished.clone() });
        assert!(said(Some(7)).contains("indexes     7 left out on Traffic until every row is copied"));
        for left in [None, Some(0)] {
            assert!(!said(left).contains("indexes"));
        }
    }
}
