//! Rate, trend, survival and blocking sessions as text.

use bytesize::ByteSize;

use super::view::duration;
use crate::telemetry::outlook::{CatchUpState, Survival, SurvivalState, Trend, TrendDirection};
use crate::telemetry::{BlockingSession, DaemonPresence, Live};

/// Longest time that is written out: an estimate beyond has no meaning.
const FAR: f64 = 30.0 * 86_400.0;

/// Names and values of the lines, in the order of the view.
pub(super) fn lines(live: &Live) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    lines.extend(rate(live).map(|text| ("rate", text)));
    let filling = live.survival.filter(|survival| survival.state == SurvivalState::Filling);
    lines.extend(live.survival.map(|survival| ("survival", survive(live, survival))));
    lines.extend(catch_up(live).filter(|_| filling.is_none()).map(|text| ("catching up", text)));
    lines.extend(live.blocked_by.iter().flatten().map(|session| ("BLOCKED", blocked(session))));
    lines
}

/// The trend as a continuation of the lag; empty where the lag is none.
pub(super) fn trend(live: &Live) -> String {
    let is_behind = live.lag_bytes.is_some_and(|bytes| bytes > 0);
    let Some(Trend { direction, seconds_per_minute, .. }) = live.trend.filter(|_| is_behind) else {
        return String::new();
    };
    let by = duration(seconds_per_minute.abs());
    match direction {
        TrendDirection::Rising => format!(", rising by {by} a minute"),
        TrendDirection::Falling => format!(", falling by {by} a minute"),
        TrendDirection::Steady => ", steady".to_owned(),
    }
}

fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A rate, rounded to whole bytes.
fn a_second(rate: f64) -> String {
    bytes(rate.max(0.0) as u64)
}

/// `in 3 h 40 min`, or that it is far off.
fn within(seconds: f64) -> String {
    if seconds > FAR { "in more than 30 d".to_owned() } else { format!("in {}", duration(seconds)) }
}

pub(super) fn rate(live: &Live) -> Option<String> {
    let rate = live.rate?;
    let source = live.survival.map_or("the source", |survival| survival.side.name());
    let written = format!("{source} writes {} of WAL a second", a_second(rate.wal_bytes_per_second));
    Some(match rate.rows_per_second {
        Some(rows) => format!("{rows:.0} rows/s applied; {written}"),
        None => written,
    })
}

fn survive(live: &Live, survival: Survival) -> String {
    let side = survival.side.name();
    let limit = bytes(survival.limit_bytes.unwrap_or(0));
    // PostgreSQL counts whole segments, so that a little more than the limit may be left.
    let safe = bytes(survival.safe_bytes.unwrap_or(0).min(survival.limit_bytes.unwrap_or(0)));
    let if_stopped = survival.seconds_left_if_stopped.map_or_else(String::new, |seconds| {
        format!("; were replication to stop now, it would be reached {}", within(seconds))
    });
    match survival.state {
        SurvivalState::Lost => {
            format!("none: {side} has dropped WAL that the slot needs; run `leadbridge resync`")
        }
        SurvivalState::Unreserved => format!(
            "NONE LEFT: {side} may drop WAL that the slot needs at its next checkpoint; raise max_slot_wal_keep_size \
             there, and let the stream catch up"
        ),
        SurvivalState::NoLimit => {
            let growth = survival.growth_bytes_per_second.filter(|growth| *growth > 0.0);
            let growth = growth.map_or_else(String::new, |growth| {
                format!("; the WAL kept grows by {} a minute", a_second(growth * 60.0))
            });
            format!(
                "{side} sets no max_slot_wal_keep_size: its disk is the limit, and no role sees the disk's free \
                 space{growth}"
            )
        }
        SurvivalState::Unknown => {
            format!("{safe} left of {limit}; its growth is not measured yet{if_stopped}")
        }
        SurvivalState::NotFilling => format!("{safe} left of {limit}, not filling{if_stopped}"),
        SurvivalState::Filling => {
            let seconds = within(survival.seconds_left.unwrap_or(0.0));
            let nobody = live.daemon == DaemonPresence::Down;
            let rate = if nobody { "unless a daemon starts" } else { "at this rate" };
            let caught_up = catch_up(live).map_or_else(String::new, |text| format!("; catching up: {text}"));
            format!("the limit of {limit} is reached {seconds} {rate}, {safe} are left{caught_up}")
        }
    }
}

/// `None` while the stream keeps up, or when nothing is known.
fn catch_up(live: &Live) -> Option<String> {
    let catch_up = live.catch_up?;
    match (catch_up.state, catch_up.seconds) {
        (CatchUpState::KeepsUp, _) => None,
        (CatchUpState::CatchingUp, Some(seconds)) => Some(format!("done {} at this rate", within(seconds))),
        (CatchUpState::CatchingUp | CatchUpState::FallingBehind, _) => {
            Some("never at this rate, the lag does not become less".to_owned())
        }
    }
}

fn blocked(session: &BlockingSession) -> String {
    let BlockingSession { side, pid, role, application_name, client_address, .. } = session;
    let mut text = match pid {
        Some(pid) => format!("by process {pid}"),
        None => "by a prepared transaction (pg_prepared_xacts)".to_owned(),
    };
    for (name, value) in
        [(" of role ", role), (", application ", application_name), (", from ", client_address)]
    {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            text += &format!("{name}{value}");
        }
    }
    text += &format!(", on {}", side.name());
    if let Some(seconds) = session.transaction_seconds {
        text += &format!(", in a transaction for {}", duration(seconds));
    }
    if let Some(seconds) = session.waited_seconds {
        text += &format!("; leadbridge has waited for {}", duration(seconds));
    }
    text
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
        lines(live).iter().map(|(name, text)| format!("{name}: {text}\n")).collect()
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
            trend(&Live { lag_bytes: Some(1), trend: Some(found), ..Live::starting() })
        };
        assert_eq!(trend_of(TrendDirection::Rising, 58.0), ", rising by 58 s a minute");
        assert_eq!(trend_of(TrendDirection::Falling, -120.0), ", falling by 2 min 0 s a minute");
        assert_eq!(trend_of(TrendDirection::Steady, 0.1), ", steady");
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
