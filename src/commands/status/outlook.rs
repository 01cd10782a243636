//! Rate, trend, survival and blocking sessions as text.

use bytesize::ByteSize;

use super::view::{facts, of_role};
use crate::language::written::duration;
use crate::language::{Message, message};
use crate::telemetry::outlook::{CatchUpState, FAR, Survival, SurvivalState, Trend, TrendDirection};
use crate::telemetry::{BlockingSession, DaemonPresence, Live};

/// What a line of the outlook is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutlookLine {
    Rate,
    Survival,
    CatchingUp,
    Blocked,
}

impl OutlookLine {
    pub(super) fn label(self) -> Message {
        match self {
            OutlookLine::Rate => message!("commands-label-rate"),
            OutlookLine::Survival => message!("commands-label-survival"),
            OutlookLine::CatchingUp => message!("commands-label-catching-up"),
            OutlookLine::Blocked => message!("commands-label-blocked"),
        }
    }
}

/// The lines, in the order of the view.
pub(super) fn lines(live: &Live) -> Vec<(OutlookLine, Message)> {
    let mut lines = Vec::new();
    lines.extend(rate(live).map(|text| (OutlookLine::Rate, text)));
    let filling = live.survival.filter(|survival| survival.state == SurvivalState::Filling);
    lines.extend(live.survival.map(|survival| (OutlookLine::Survival, survive(live, survival))));
    lines.extend(catch_up(live).filter(|_| filling.is_none()).map(|text| (OutlookLine::CatchingUp, text)));
    lines.extend(live.blocked_by.iter().flatten().map(|session| (OutlookLine::Blocked, blocked(session))));
    lines
}

/// The trend, which continues the lag; `None` where the lag is none.
pub(super) fn trend(live: &Live) -> Option<Message> {
    let is_behind = live.lag_bytes.is_some_and(|bytes| bytes > 0);
    let Trend { direction, seconds_per_minute, .. } = live.trend.filter(|_| is_behind)?;
    let by = duration(seconds_per_minute.abs());
    Some(match direction {
        TrendDirection::Rising => message!("figures-rising", time = by),
        TrendDirection::Falling => message!("figures-falling", time = by),
        TrendDirection::Steady => message!("figures-steady"),
    })
}

fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A rate, without its part of a byte.
fn a_second(rate: f64) -> String {
    bytes(rate.max(0.0) as u64)
}

/// `in 3 h 40 min`, or that it is far off.
fn within(seconds: f64) -> Message {
    if seconds > FAR {
        message!("commands-outlook-far")
    } else {
        message!("commands-outlook-within", time = duration(seconds))
    }
}

pub(super) fn rate(live: &Live) -> Option<Message> {
    let rate = live.rate?;
    let source = live.survival.map_or_else(
        || message!("commands-outlook-source"),
        |survival| Message::verbatim(survival.side.name()),
    );
    let written = a_second(rate.wal_bytes_per_second);
    let written = message!("figures-wal-per-second", source = source, wal = written);
    Some(match rate.rows_per_second {
        Some(rows) => {
            message!("commands-outlook-applied", rows = format!("{rows:.0}"), written = written)
        }
        None => written,
    })
}

fn survive(live: &Live, survival: Survival) -> Message {
    let side = survival.side;
    let limit = bytes(survival.limit_bytes.unwrap_or(0));
    let safe = bytes(survival.left_bytes());
    let if_stopped = |says: Message| match survival.seconds_left_if_stopped {
        Some(seconds) => message!("commands-outlook-if-stopped", says = says, within = within(seconds)),
        None => says,
    };
    match survival.state {
        SurvivalState::Lost => message!("commands-outlook-lost", side = side),
        SurvivalState::Unreserved => message!("commands-outlook-unreserved", side = side),
        SurvivalState::NoLimit => {
            let says = message!("commands-outlook-no-limit", side = side);
            match survival.growth_bytes_per_second.filter(|growth| *growth > 0.0) {
                Some(growth) => {
                    message!("commands-outlook-growing", says = says, bytes = a_second(growth * 60.0))
                }
                None => says,
            }
        }
        SurvivalState::Unknown => {
            if_stopped(message!("commands-outlook-unknown", safe = safe, limit = limit))
        }
        SurvivalState::NotFilling => {
            if_stopped(message!("commands-outlook-not-filling", safe = safe, limit = limit))
        }
        SurvivalState::Filling => {
            let within = within(survival.seconds_left.unwrap_or(0.0));
            let says = match live.daemon {
                DaemonPresence::Down => {
                    message!("commands-outlook-filling-alone", limit = limit, within = within, safe = safe)
                }
                _ => message!("commands-outlook-filling", limit = limit, within = within, safe = safe),
            };
            let caught_up = catch_up(live).map(|text| message!("commands-outlook-catching-up", text = text));
            Message::joined([Some(says), caught_up].into_iter().flatten(), "; ")
        }
    }
}

/// `None` while the stream keeps up, or when nothing is known.
fn catch_up(live: &Live) -> Option<Message> {
    let catch_up = live.catch_up?;
    match (catch_up.state, catch_up.seconds) {
        (CatchUpState::KeepsUp, _) => None,
        (CatchUpState::CatchingUp, Some(seconds)) => {
            Some(message!("commands-outlook-done-within", within = within(seconds)))
        }
        (CatchUpState::CatchingUp | CatchUpState::FallingBehind, _) => {
            Some(message!("commands-outlook-never"))
        }
    }
}

fn blocked(session: &BlockingSession) -> Message {
    let BlockingSession { side, pid, role, application_name, client_address, .. } = session;
    let by = match pid {
        Some(pid) => message!("commands-blocked-process", pid = pid.to_string()),
        None => message!("commands-blocked-prepared"),
    };
    let known = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut parts = vec![of_role(by, known(role).as_ref())];
    parts.extend(facts(known(application_name).as_ref(), known(client_address).as_ref()));
    parts.push(message!("figures-on", side = *side));
    let lasted = session.transaction_seconds;
    parts.extend(lasted.map(|lasted| message!("commands-blocked-transaction", time = duration(lasted))));
    let waited = session.waited_seconds;
    let waited = waited.map(|waited| message!("postgres-session-waited", time = duration(waited)));
    Message::joined([Some(Message::joined(parts, ", ")), waited].into_iter().flatten(), "; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::side::Side;
    use crate::telemetry::outlook::{CatchUp, Rate};

    fn filling() -> Survival {
        Survival {
            state: SurvivalState::Filling,
            side: Side::Landing,
            limit_bytes: Some(4 << 30),
            safe_bytes: Some(1 << 30),
            growth_bytes_per_second: Some(1000.0),
            seconds_left: Some(13_200.0),
            seconds_left_if_stopped: Some(7200.0),
        }
    }

    fn said(live: &Live) -> String {
        lines(live).iter().map(|(line, text)| format!("{}: {text}\n", line.label())).collect()
    }

    #[test]
    fn the_survival_clock_stands_beside_the_time_of_catching_up() {
        let live = Live { survival: Some(filling()), ..Live::starting() };
        let reached =
            "survival: the limit of 4.0 GiB is reached in 3 h 40 min at this rate, 1.0 GiB are left";
        assert_eq!(said(&live), format!("{reached}\n"));
        let catch_up = |state, seconds| Live { catch_up: Some(CatchUp { state, seconds }), ..live.clone() };
        let catching = said(&catch_up(CatchUpState::CatchingUp, Some(4200.0)));
        assert_eq!(catching, format!("{reached}; catching up: done in 1 h 10 min at this rate\n"));
        let never = said(&catch_up(CatchUpState::FallingBehind, None));
        assert_eq!(
            never,
            format!("{reached}; catching up: never at this rate, the lag does not become less\n")
        );
        assert_eq!(said(&catch_up(CatchUpState::KeepsUp, Some(0.0))), format!("{reached}\n"));
        let down = said(&Live { daemon: DaemonPresence::Down, ..live });
        assert!(down.contains("in 3 h 40 min unless a daemon starts"), "{down}");
    }

    #[test]
    fn each_state_of_the_slot_is_named() {
        let of = |state| said(&Live { survival: Some(Survival { state, ..filling() }), ..Live::starting() });
        assert!(of(SurvivalState::Lost).contains("run `leadbridge resync`"));
        assert!(of(SurvivalState::Unreserved).contains("NONE LEFT"));
        assert!(
            of(SurvivalState::NoLimit)
                .contains("no role sees the disk's free space; the WAL kept grows by 58.6 KiB")
        );
        let well = of(SurvivalState::NotFilling);
        assert!(
            well.contains("not filling; were replication to stop now, it would be reached in 2 h 0 min"),
            "{well}"
        );
        assert!(of(SurvivalState::Unknown).contains("not measured yet"));
    }

    #[test]
    fn rate_trend_and_blocking_sessions_are_said_in_words() {
        let trend_of = |direction, seconds_per_minute| {
            let found = Trend { direction, bytes_per_minute: 1.0, seconds_per_minute, over_seconds: 60.0 };
            trend(&Live { lag_bytes: Some(1), trend: Some(found), ..Live::starting() }).unwrap().to_string()
        };
        assert_eq!(trend_of(TrendDirection::Rising, 58.0), "rising by 58 s a minute");
        assert_eq!(trend_of(TrendDirection::Falling, -120.0), "falling by 2 min 0 s a minute");
        assert_eq!(trend_of(TrendDirection::Steady, 0.1), "steady");
        let rate = Rate {
            rows_per_second: Some(120.4),
            applied_bytes_per_second: Some(1.0),
            wal_bytes_per_second: 2048.0,
            over_seconds: 60.0,
        };
        let session = BlockingSession {
            side: Side::Traffic,
            pid: Some(7),
            role: Some("app".into()),
            application_name: Some("psql".into()),
            client_address: None,
            transaction_seconds: Some(180.0),
            waited_seconds: Some(124.0),
        };
        let prepared = BlockingSession { pid: None, role: None, application_name: None, ..session.clone() };
        let live = Live { rate: Some(rate), blocked_by: Some(vec![session, prepared]), ..Live::starting() };
        assert_eq!(
            said(&live),
            "rate: 120 rows/s applied; the source writes 2.0 KiB of WAL a second\n\
             BLOCKED: by process 7 of role app, application psql, on Traffic, in a transaction for 3 min 0 s; leadbridge \
             has waited for 2 min 4 s\n\
             BLOCKED: by a prepared transaction (pg_prepared_xacts), on Traffic, in a transaction for 3 min 0 s; \
             leadbridge has waited for 2 min 4 s\n"
        );
    }
}
