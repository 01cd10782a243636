//! `leadbridge status`: the answers of the daemon, Landing and Traffic in one document.

mod ask;
mod gather;
mod outlook;
mod reverse;
mod verification;
mod view;
mod watch;

use std::io::IsTerminal as _;
use std::time::Duration;

use gather::Gathered;

use super::{complain, print, print_json};
use crate::cli;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::language::Language;
use crate::telemetry::{DaemonPresence, Live, State};

const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// # Errors
/// When stdout breaks. Facts that cannot be determined are part of the answer, and of the exit code.
pub async fn run(config: &Config, arguments: &cli::Status, language: Language) -> Result<Exit> {
    match arguments.watch {
        true if !arguments.json && watch::is_usable() => {
            Box::pin(watch::run(config, arguments, language)).await
        }
        true => watch_lines(config, arguments, language).await,
        false => once(config, arguments, language).await,
    }
}

async fn once(config: &Config, arguments: &cli::Status, language: Language) -> Result<Exit> {
    let gathered = gather::gather(config).await;
    for error in gathered.refusal.iter().chain(&gathered.unreachable) {
        complain(error, language);
    }
    if arguments.json {
        print_json(&gathered.live)?;
    } else {
        print(&view::text(&gathered.live, language))?;
    }
    Ok(verdict(&gathered, arguments))
}

/// Prints again and again, where there is no terminal for a screen. Ends with Ctrl-C, or when stdout has no reader any
/// more.
async fn watch_lines(config: &Config, arguments: &cli::Status, language: Language) -> Result<Exit> {
    let knows_escapes = std::env::var("TERM").is_ok_and(|kind| kind != "dumb");
    let clear = if std::io::stdout().is_terminal() && knows_escapes { "\x1b[H\x1b[2J" } else { "" };
    loop {
        // Gathering only reads, so a gathering that is dropped half-way leaves nothing on the databases.
        let gathered = tokio::select! {
            gathered = gather::gather(config) => gathered,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
        };
        let mut text = String::new();
        if arguments.json {
            text =
                serde_json::to_string(&gathered.live).map_err(|error| Error::internal(error.to_string()))?;
            text.push('\n');
        } else {
            text.push_str(clear);
            text.push_str(&view::text(&gathered.live, language));
            for error in gathered.refusal.iter().chain(&gathered.unreachable) {
                text.push_str(&super::complaint(error, language));
            }
        }
        if !super::print_unless_closed(&text)? {
            return Ok(verdict(&gathered, arguments));
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_PAUSE) => {}
            _ = tokio::signal::ctrl_c() => return Ok(verdict(&gathered, arguments)),
        }
    }
}

/// The worst condition that holds, in the order of importance to the person on call.
fn verdict(gathered: &Gathered, arguments: &cli::Status) -> Exit {
    let live = &gathered.live;
    if !gathered.unreachable.is_empty() {
        Exit::Unreachable
    } else if is_down(live) {
        Exit::Down
    } else if is_over(live, arguments) {
        Exit::CheckFailed
    } else {
        Exit::Ok
    }
}

/// Whether replication is broken: the daemon is down, or cannot continue, or the slot is lost, or a state
/// does not end without an operator.
fn is_down(live: &Live) -> bool {
    let lost = live.slot.as_ref().is_some_and(|slot| slot.wal_status.as_deref() == Some("lost"));
    // After the switch a daemon carries Traffic's changes back to Landing. Without reverse replication there
    // is nothing to replicate, and a daemon that is down is right.
    let back = live.reverse.as_ref().filter(|reverse| reverse.wal_status.is_some());
    let over = live.state == State::Switched && back.is_none();
    let lost = lost || back.is_some_and(|back| back.wal_status.as_deref() == Some("lost"));
    let nobody = matches!(live.daemon, DaemonPresence::Down | DaemonPresence::Unknown);
    let waits = live.attention.as_ref().is_some_and(|waiting| !waiting.is_empty());
    lost || waits || live.state == State::Error || (nobody && !over)
}

/// An unknown lag is over every maximum.
fn is_over(live: &Live, arguments: &cli::Status) -> bool {
    let bytes = arguments.max_lag_bytes.is_some_and(|max| live.lag_bytes.is_none_or(|lag| lag > max));
    let seconds = arguments.max_lag_seconds.is_some_and(|max| live.lag_seconds.is_none_or(|lag| lag > max));
    bytes || seconds
}

#[cfg(test)]
mod tests {
    use super::gather::WhoAnswered;
    use super::*;
    use crate::telemetry::{ReverseReport, SlotReport};

    fn asked(max_lag_bytes: Option<u64>) -> cli::Status {
        cli::Status { json: false, watch: false, max_lag_bytes, max_lag_seconds: None }
    }

    fn code(live: &Live, max_lag_bytes: Option<u64>) -> Exit {
        let gathered = Gathered {
            live: live.clone(),
            answered: WhoAnswered::default(),
            unreachable: Vec::new(),
            refusal: None,
        };
        verdict(&gathered, &asked(max_lag_bytes))
    }

    fn streaming() -> Live {
        let mut live = Live::starting();
        live.state = State::Streaming;
        (live.lag_bytes, live.lag_seconds) = (Some(100), Some(0.5));
        live
    }

    #[test]
    fn the_exit_code_is_the_worst_that_is_true() {
        assert_eq!(code(&streaming(), Some(100)), Exit::Ok);
        assert_eq!(code(&streaming(), Some(99)), Exit::CheckFailed);
        assert_eq!(code(&Live { lag_bytes: None, ..streaming() }, Some(99)), Exit::CheckFailed);
        assert_eq!(code(&Live { state: State::Error, ..streaming() }, Some(99)), Exit::Down);
        assert_eq!(code(&Live::stopped(), None), Exit::Down);
        let gathered = Gathered {
            live: Live::stopped(),
            answered: WhoAnswered::default(),
            unreachable: vec![Error::unreachable("gone")],
            refusal: None,
        };
        assert_eq!(verdict(&gathered, &asked(None)), Exit::Unreachable);
    }

    #[test]
    fn a_lost_slot_is_a_broken_replication_and_a_switched_one_needs_no_daemon() {
        let slot = SlotReport {
            name: "s".into(),
            active: false,
            wal_status: Some("lost".into()),
            retained_bytes: None,
            safe_bytes: None,
            limit_bytes: None,
        };
        assert_eq!(code(&Live { slot: Some(slot), ..streaming() }, None), Exit::Down);
        let mut switched = Live { state: State::Switched, ..Live::stopped() };
        assert_eq!(code(&switched, None), Exit::Ok);
        switched.reverse = Some(ReverseReport {
            slot: "s_reverse".into(),
            active: false,
            wal_status: Some("reserved".into()),
            retained_bytes: Some(0),
            applied_lsn: None,
            lag_bytes: Some(0),
            lag_seconds: Some(0.0),
            quarantined: Some(0),
            ..ReverseReport::default()
        });
        assert_eq!(code(&switched, None), Exit::Down, "nobody carries back");
    }
}
