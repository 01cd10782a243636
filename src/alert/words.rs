//! Every sentence that an alert may say.
//!
//! The readers are woken by these sentences and read them on a phone: the first line says what is wrong, the next
//! lines what it means and what to do. No sentence holds a value of a row, a password or an address of a channel.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::causes::{Cause, Finding};
use crate::config::AlertLimits;
use crate::model::side::Side;
use crate::report::Attention;
use crate::telemetry::{LastError, Live, State};

const CATCHES_UP: &str =
    "see `leadbridge status` and the daemon's log. Rows wait at their source and are not lost.";

/// Longest detail or remedy in a message; a phone shows no more.
const LONGEST: usize = 700;

/// The title of a message about the cause.
pub fn title(cause: Cause) -> &'static str {
    match cause {
        Cause::DaemonEnded => "the daemon has ended",
        Cause::ReplicationStopped => "replication has stopped",
        Cause::Lag => "replication lags behind",
        Cause::SlotInDanger => "the slot on Landing is in danger",
        Cause::ReverseSlotInDanger => "the slot on Traffic is in danger",
        Cause::Quarantine => "rows are in quarantine",
        Cause::ReverseQuarantine => "rows of reverse replication are in quarantine",
        Cause::Difference => "rows differ between Landing and Traffic",
        Cause::NeedsOperator => "an operator must act",
        Cause::LandingCertificate => "Landing's certificate is about to end",
        Cause::TrafficCertificate => "Traffic's certificate is about to end",
    }
}

/// The title once the cause is gone.
pub fn over(cause: Cause) -> &'static str {
    match cause {
        Cause::DaemonEnded => "the daemon runs again",
        Cause::ReplicationStopped => "replication works again",
        Cause::Lag => "the lag is within its limits again",
        Cause::SlotInDanger => "the slot on Landing is out of danger",
        Cause::ReverseSlotInDanger => "the slot on Traffic is out of danger",
        Cause::Quarantine => "the quarantine is empty",
        Cause::ReverseQuarantine => "the quarantine of reverse replication is empty",
        Cause::Difference => "no row is known to differ any more",
        Cause::NeedsOperator => "no operator is needed any more",
        Cause::LandingCertificate => "Landing has a newer certificate",
        Cause::TrafficCertificate => "Traffic has a newer certificate",
    }
}

pub fn stopped(error: Option<&LastError>) -> Finding {
    let Some(error) = error else {
        return Finding::new("The reason is not known.", "See the daemon's log.");
    };
    let goes_on = if error.retrying { " leadbridge tries again by itself meanwhile." } else { "" };
    let remedy = error.remedy.as_deref().map_or_else(|| CATCHES_UP.to_owned(), sentence);
    Finding::new(sentence(&error.message), format!("{remedy}{goes_on}"))
}

pub fn starting(error: Option<&LastError>) -> Finding {
    match error {
        Some(error) => stopped(Some(error)),
        None => Finding::new(
            "The daemon has started and does not stream yet.",
            "Do both databases answer? Run `leadbridge doctor`, and see the daemon's log.",
        ),
    }
}

/// `restarts`: whether the service manager starts the daemon again after this error.
pub fn ended(message: &str, remedy: Option<&str>, restarts: bool) -> Finding {
    let next = match restarts {
        true => "The service manager starts the daemon again; until then nothing is replicated.",
        false => "The service manager does NOT start the daemon again: somebody must act first.",
    };
    let remedy = remedy.map_or_else(|| "see the daemon's log.".to_owned(), sentence);
    Finding::new(sentence(message), format!("{remedy} {next}"))
}

pub fn vanished(started: Timestamp, offset: Offset) -> Finding {
    Finding::new(
        format!(
            "The process that started {} ended without its last word: killed, out of memory, a panic, or the machine. \
             A new process has started.",
            moment(started, offset)
        ),
        "nothing is lost. `journalctl -u leadbridge` and the kernel's log show the reason.",
    )
    .titled("the daemon died and was started again")
}

pub fn lag(live: &Live, limits: &AlertLimits) -> Finding {
    let (from, to) =
        if live.state == State::Switched { ("Traffic", "Landing") } else { ("Landing", "Traffic") };
    let seconds = live.lag_seconds.map_or_else(|| "an unknown time".to_owned(), seconds);
    let bytes = live.lag_bytes.map_or_else(|| "an unknown amount of WAL".to_owned(), bytes);
    let allowed =
        format!("{} or {}", self::seconds(limits.max_lag_seconds), self::bytes(limits.max_lag_bytes));
    Finding::new(
        format!("{to} is {seconds} ({bytes} of WAL) behind {from}; the limit is {allowed}.{}", blocked(live)),
        format!(
            "is {to} slow, or does a long transaction hold rows there? Is a bulk change running on {from}? \
             `leadbridge status --watch` shows whether the lag shrinks."
        ),
    )
}

/// Who holds a lock for which leadbridge waits; empty when nobody is known.
fn blocked(live: &Live) -> String {
    let Some(blocking) = live.blocked_by.iter().flatten().next() else { return String::new() };
    let side = blocking.side.name();
    match blocking.pid {
        Some(pid) => format!(" Process {pid} of {side} holds a lock for which leadbridge waits."),
        None => format!(" A prepared transaction of {side} holds a lock for which leadbridge waits."),
    }
}

pub fn slot_lost(side: Side) -> Finding {
    let remedy = match side {
        Side::Traffic => {
            "Reverse replication cannot go on, so a rollback would lose rows. See docs/runbook.md."
        }
        Side::Landing => "`leadbridge resync` copies the rows again; Traffic stays usable meanwhile.",
    };
    let side = side.name();
    Finding::new(
        format!("{side} has removed WAL that the slot needs (wal_status lost): the stream cannot go on."),
        remedy,
    )
}

pub fn slot_unreserved(side: Side, retained: Option<u64>) -> Finding {
    let side = side.name();
    let kept = retained.map_or_else(String::new, |kept| format!(", after {}", bytes(kept)));
    Finding::new(
        format!(
            "{side} removes WAL that the slot still needs at its next checkpoint (wal_status unreserved{kept})."
        ),
        format!(
            "raise max_slot_wal_keep_size on {side} now (ALTER SYSTEM, then SELECT pg_reload_conf()), and find out why \
             the stream is slow."
        ),
    )
}

pub fn slot_fills(side: Side, left: f64) -> Finding {
    let side = side.name();
    Finding::new(
        format!("At the present rate {side} removes WAL that the slot needs in {}.", seconds(left)),
        format!(
            "find out what holds the slot back (`leadbridge status` names who blocks), or raise max_slot_wal_keep_size on \
             {side} (ALTER SYSTEM, then SELECT pg_reload_conf())."
        ),
    )
}

pub fn quarantine(rows: u64) -> Finding {
    Finding::new(
        format!("{} not taken by Traffic. All other rows carry on.", were(rows)),
        "`leadbridge quarantine list` shows why. Correct the cause, then `leadbridge quarantine retry`. A cutover is \
         refused until the quarantine is empty.",
    )
}

pub fn reverse_quarantine(rows: u64) -> Finding {
    Finding::new(
        format!("{} not taken by Landing on the way back. All other rows carry on.", were(rows)),
        "See leadbridge.reverse_quarantine on Traffic for the reasons. A rollback is refused until it is empty.",
    )
}

/// Names tables and keys; a key is no value of a person.
pub fn difference(rows: u64, live: &Live) -> Finding {
    let report = live.verification.as_ref();
    let tables = report.into_iter().flat_map(|report| &report.differing).flatten();
    let named: Vec<String> = tables
        .filter(|table| table.counts.unexplained() > 0)
        .map(|table| match table.examples.first() {
            Some(id) => format!("{} of {}, for example {id}", table.counts.unexplained(), table.table),
            None => format!("{} of {}", table.counts.unexplained(), table.table),
        })
        .collect();
    let repairs = report.is_some_and(|report| report.repairs);
    let not_repaired =
        report.and_then(|report| report.last.as_ref()).and_then(|last| last.not_repaired.as_deref());
    let remedy = match (repairs, not_repaired) {
        (_, Some(why)) => format!("they were not repaired: {}", sentence(why)),
        (true, None) => "the daemon repairs them at the end of the round; `leadbridge explain ID` says what differs.".to_owned(),
        (false, None) => "`leadbridge explain ID` says what differs. Then set `[verify] repair = true`, or stop the daemon \
                          and run `leadbridge verify --repair`."
            .to_owned(),
    };
    let are = if rows == 1 { "1 row is" } else { &format!("{rows} rows are") };
    Finding::new(
        format!(
            "{are} not on Traffic as Landing has them, though the stream has passed them: {}.",
            named.join("; ")
        ),
        remedy,
    )
}

pub fn needs_operator(waiting: &[Attention], publication: Option<&String>) -> Finding {
    let mut details: Vec<_> = waiting.iter().map(|one| sentence(&one.message.to_string())).collect();
    let mut remedies: Vec<_> = waiting.iter().map(|one| sentence(&one.remedy.to_string())).collect();
    if let Some(what) = publication {
        details.push(sentence(what));
        remedies.push("`leadbridge doctor` and `leadbridge migrate` put Landing right.".to_owned());
    }
    Finding::new(details.join(" "), remedies.join(" "))
}

pub fn certificate(side: Side, end: Timestamp, days: i64) -> Finding {
    let side = side.name();
    let when = match days {
        ..0 => format!("ended on {}", end.strftime("%Y-%m-%d %H:%M UTC")),
        0 => format!("ends within a day, at {}", end.strftime("%H:%M UTC")),
        1 => format!("ends in 1 day, on {}", end.strftime("%Y-%m-%d")),
        _ => format!("ends in {days} days, on {}", end.strftime("%Y-%m-%d")),
    };
    Finding::new(
        format!("The certificate that {side} shows {when}."),
        format!(
            "renew it on {side}'s server and reload PostgreSQL, before connections with sslmode verify-ca or verify-full \
             are refused."
        ),
    )
}

/// What became of an aborted cutover or rollback.
pub fn aborted(direction: &str, reason: Option<&str>) -> Finding {
    let why = reason.map_or_else(String::new, |reason| format!(" Reason: {}", sentence(reason)));
    Finding::new(
        format!("The {direction} was aborted, and the system of record stays the same.{why}"),
        format!(
            "`leadbridge status` says whether something is left to do; `leadbridge {direction} --dry-run` says whether \
             another try would succeed."
        ),
    )
}

/// The daily line when no cause stands.
pub fn all_is_well(live: &Live) -> String {
    let lag = match (live.lag_seconds, live.lag_bytes) {
        (Some(behind), Some(wal)) => format!("lag {} ({})", seconds(behind), bytes(wal)),
        _ => "lag not known".to_owned(),
    };
    let kept = |rows: Option<u64>| match rows {
        Some(0) => "quarantine empty".to_owned(),
        Some(rows) => format!("{rows} in quarantine"),
        None => "quarantine not known".to_owned(),
    };
    let reverse = live
        .reverse
        .as_ref()
        .map_or_else(String::new, |reverse| format!(", on the way back {}", kept(reverse.quarantined)));
    format!(
        "State {}, {lag}, {}{reverse}, {} rows applied since the daemon started.",
        live.state,
        kept(live.quarantined),
        live.rows_applied
    )
}

/// A point in time as an engineer reads it: `29 Nov 03:12 UTC`.
pub fn moment(at: Timestamp, offset: Offset) -> String {
    let local = offset.to_datetime(at).strftime("%d %b %H:%M");
    if offset == Offset::UTC { format!("{local} UTC") } else { format!("{local} {offset}") }
}

/// `12 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
pub fn span(lasted: Duration) -> String {
    let seconds = lasted.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

fn seconds(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(short) if seconds < 10.0 && seconds.fract() > 0.05 => format!("{:.1} s", short.as_secs_f64()),
        Ok(lasted) => span(lasted),
        Err(_) => "an unknown time".to_owned(),
    }
}

fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn were(rows: u64) -> String {
    if rows == 1 { "1 row was".to_owned() } else { format!("{rows} rows were") }
}

/// A message of the daemon with a full stop, cut where a phone would not show the rest. Its first letter stays small,
/// because the message may begin with a command.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { format!("{cut}.") }
}
