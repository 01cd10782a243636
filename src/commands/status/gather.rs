//! Combines the answers of the daemon and of both databases.

use std::time::Duration;

use super::ask::{Answers, Checkpoint, Landing, Traffic, ask_databases};
use super::{reverse, verification};
use crate::checkpoint::Finish;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::replication::last_error;
use crate::telemetry::outlook::{Outlook, Rate, SlotLimits, survival};
use crate::telemetry::{DaemonPresence, LastError, Live, State, http, http_access};

/// The daemon is on this machine: a daemon that takes longer is not going to answer.
const HTTP_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Gathered {
    pub live: Live,
    pub answered: WhoAnswered,
    /// One error for each database that could not be asked.
    pub unreachable: Vec<Error>,
    /// Why a daemon that answers does not tell its status.
    pub refusal: Option<Error>,
}

/// Who has answered. The figures of one that has not are missing in the document, or as old as the daemon's last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhoAnswered {
    pub daemon: bool,
    pub landing: bool,
    pub traffic: bool,
}

/// Never fails: an answer that is missing is null in the document, and its database is named in
/// `unreachable`.
pub async fn gather(config: &Config) -> Gathered {
    let (daemon, refusal) = match ask_daemon(config).await {
        Ok(daemon) => (daemon, None),
        Err(refusal) => (None, Some(refusal)),
    };
    let answers = Box::pin(ask_databases(config, daemon.is_none())).await;
    let Answers { landing, traffic, attention, unreachable } = answers;
    let answered =
        WhoAnswered { daemon: daemon.is_some(), landing: landing.is_some(), traffic: traffic.is_some() };
    let (traffic, kept) = traffic.map_or((None, None), |(traffic, kept)| (Some(traffic), kept));
    let left_out = left_out(landing.as_ref(), traffic.as_ref(), config);
    let mut live = put_together(daemon, landing, traffic, &config.names);
    live.columns_not_replicated = left_out;
    live.attention = attention;
    if matches!(live.daemon, DaemonPresence::Down | DaemonPresence::Unknown) && live.last_error.is_none() {
        live.last_error = last_error::latest(&config.state_dir, kept);
    }
    Gathered { live, answered, unreachable, refusal }
}

/// `None` when no daemon of this slot answers at the address.
async fn ask_daemon(config: &Config) -> Result<Option<Live>> {
    let Some(listen) = config.http_listen else { return Ok(None) };
    let token = match &config.http_token_file {
        Some(file) => Some(
            http_access::read_token(file)
                .await
                .map_err(|why| Error::usage(why).remedy(message!("commands-remedy-token-unreadable")))?,
        ),
        None => None,
    };
    let live: Option<Live> = http::ask(listen, token.as_ref(), HTTP_TIMEOUT).await?;
    Ok(live.filter(|live| live.slot.as_ref().is_none_or(|slot| slot.name == config.names.slot)))
}

/// The columns of Landing that are not replicated; `None` when a database could not say.
fn left_out(
    landing: Option<&Landing>,
    traffic: Option<&Option<Traffic>>,
    config: &Config,
) -> Option<Vec<String>> {
    let mapping = traffic?.as_ref()?.mapping.as_ref()?;
    let left_out = landing?.columns.as_ref()?.left_out(mapping, &config.columns);
    Some(left_out.iter().map(ToString::to_string).collect())
}

/// The daemon's answer has precedence. Without a daemon, the checkpoint and Landing's position give the state
/// and an upper bound of the lag.
fn put_together(
    daemon: Option<Live>,
    landing: Option<Landing>,
    traffic: Option<Option<Traffic>>,
    names: &Names,
) -> Live {
    let answered = daemon.is_some();
    let mut live = daemon.unwrap_or_else(Live::stopped);
    let migrated = traffic.as_ref().map(Option::is_some);
    let traffic = traffic.flatten();
    if let Some(traffic) = &traffic {
        live.finished_at = match traffic.finished {
            Some(Finish::Finished { at }) => Some(at.to_string()),
            Some(Finish::Dismantling { .. }) | None => None,
        };
        live.lease_holder.clone_from(&traffic.lease_holder);
        live.cutover.clone_from(&traffic.cutover);
        live.verification = live.verification.or_else(|| traffic.round.as_ref().map(verification::recorded));
        live.quarantined = Some(traffic.quarantined);
        live.conversion_notes = Some(traffic.conversion_notes);
    }
    if let Some(landing) = &landing {
        live.slot = landing.slot.clone();
        live.landing_lsn = Some(live.landing_lsn.map_or(landing.flushed, |known| known.max(landing.flushed)));
    }
    let on_traffic = traffic.as_ref().and_then(|traffic| traffic.wal_rate);
    let blocked_by = traffic.as_ref().map(|traffic| traffic.blocked_by.clone());
    let (checkpoint, reverse) = traffic.map_or((None, None), |traffic| (traffic.checkpoint, traffic.reverse));
    if !answered {
        without_daemon(&mut live, landing.as_ref(), checkpoint.as_ref());
        live.blocked_by = blocked_by;
    }
    match reverse {
        Some(reverse) if !answered => reverse::without_daemon(&mut live, reverse),
        // A daemon that stands by, or cannot start, has not measured reverse replication.
        reverse => live.reverse = live.reverse.take().or(reverse),
    }
    if !answered {
        foresee(&mut live, landing.as_ref().and_then(|landing| landing.wal_rate), on_traffic);
    }
    if live.finished_at.is_some() {
        // After the finish nothing runs, so the recorded positions have no meaning.
        (live.lag_bytes, live.lag_seconds, live.lag_is_estimate) = (Some(0), Some(0.0), false);
        Outlook::default().tell(&mut live);
    }
    if migrated == Some(false) {
        let error =
            Error::refused(format!("the Traffic DB has no schema `{}` with our tables yet", names.schema))
                .remedy(message!("error-remedy-migrate-and-run"));
        live.last_error = Some(LastError::new(&error));
    }
    live
}

/// Rate and survival without a daemon's history, from the WAL that the sources write in a second.
fn foresee(live: &mut Live, on_landing: Option<f64>, on_traffic: Option<f64>) {
    let (source, written, active) = match &live.reverse {
        Some(reverse) => (Side::Traffic, on_traffic, reverse.active),
        None => (Side::Landing, on_landing, live.slot.as_ref().is_some_and(|slot| slot.active)),
    };
    // Nobody advances a slot that is not in use, so its WAL grows by what is written.
    let growth = written.filter(|_| !active);
    live.survival = SlotLimits::of(live, source).map(|slot| survival(source, slot, growth, written));
    live.rate = written.map(|wal_bytes_per_second| Rate {
        rows_per_second: None,
        applied_bytes_per_second: None,
        wal_bytes_per_second,
        over_seconds: 1.0,
    });
}

fn without_daemon(live: &mut Live, landing: Option<&Landing>, checkpoint: Option<&Checkpoint>) {
    let active = live.slot.as_ref().is_some_and(|slot| slot.active);
    live.daemon = match landing {
        None => DaemonPresence::Unknown,
        Some(_) if active => DaemonPresence::Elsewhere,
        Some(_) => DaemonPresence::Down,
    };
    let recorded = checkpoint.and_then(|checkpoint| State::from_checkpoint(&checkpoint.state));
    live.state = match recorded {
        Some(state) if active => state,
        // A state of the cutover lasts without a daemon; snapshot and stream do not.
        Some(state @ (State::Fenced | State::Drained | State::Verified | State::Switched)) => state,
        _ if active => State::Starting,
        _ => State::Stopped,
    };
    let Some(checkpoint) = checkpoint else { return };
    live.applied_lsn = checkpoint.applied;
    if let (Some(landing), Some(applied)) = (landing, checkpoint.applied) {
        let bytes = landing.flushed.bytes_since(applied);
        live.lag_is_estimate = true;
        live.lag_bytes = Some(bytes);
        live.lag_seconds = match bytes {
            0 => Some(0.0),
            _ => checkpoint.caught_up_at.map(|at| landing.now.seconds_since(at)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lsn::Lsn;
    use crate::model::timestamp::Timestamp;
    use crate::telemetry::{ReverseReport, SlotReport};

    fn landing(flushed: u64, active: bool) -> Landing {
        let slot = SlotReport {
            name: "leadbridge".into(),
            active,
            wal_status: Some("reserved".into()),
            retained_bytes: Some(1),
            safe_bytes: None,
            limit_bytes: None,
        };
        Landing {
            flushed: Lsn(flushed),
            now: Timestamp(9_000_000),
            slot: Some(slot),
            wal_rate: Some(100.0),
            columns: None,
        }
    }

    fn traffic(state: &str) -> Option<Option<Traffic>> {
        let checkpoint = Checkpoint {
            state: state.into(),
            applied: Some(Lsn(100)),
            caught_up_at: Some(Timestamp(2_000_000)),
        };
        let reverse = (state == "switched").then(|| ReverseReport {
            slot: "leadbridge_reverse".into(),
            active: false,
            wal_status: Some("reserved".into()),
            retained_bytes: Some(9),
            applied_lsn: Some(Lsn(7)),
            lag_bytes: Some(5),
            lag_seconds: Some(2.0),
            quarantined: Some(1),
            ..ReverseReport::default()
        });
        Some(Some(Traffic {
            checkpoint: Some(checkpoint),
            reverse,
            finished: None,
            quarantined: 3,
            conversion_notes: 4,
            lease_holder: None,
            cutover: None,
            blocked_by: Vec::new(),
            wal_rate: None,
            mapping: None,
            round: None,
        }))
    }

    #[test]
    fn with_the_daemon_down_the_checkpoint_bounds_the_lag() {
        let live = put_together(None, Some(landing(160, false)), traffic("streaming"), &Names::default());
        assert_eq!((live.state, live.daemon), (State::Stopped, DaemonPresence::Down));
        assert_eq!((live.lag_bytes, live.lag_seconds), (Some(60), Some(7.0)));
        assert!(live.lag_is_estimate);
        assert_eq!((live.quarantined, live.conversion_notes), (Some(3), Some(4)));
    }

    #[test]
    fn nothing_written_since_means_no_lag_however_long_ago_it_was() {
        let live = put_together(None, Some(landing(100, false)), traffic("streaming"), &Names::default());
        assert_eq!((live.lag_bytes, live.lag_seconds), (Some(0), Some(0.0)));
    }

    #[test]
    fn an_active_slot_means_that_the_daemon_runs_elsewhere() {
        let live = put_together(None, Some(landing(100, true)), traffic("streaming"), &Names::default());
        assert_eq!((live.state, live.daemon), (State::Streaming, DaemonPresence::Elsewhere));
    }

    #[test]
    fn without_landing_nobody_claims_that_no_daemon_runs() {
        let live = put_together(None, None, traffic("streaming"), &Names::default());
        assert_eq!((live.state, live.daemon), (State::Stopped, DaemonPresence::Unknown));
        assert_eq!((live.lag_bytes, live.applied_lsn), (None, Some(Lsn(100))));
    }

    #[test]
    fn a_step_of_the_cutover_lasts_without_a_daemon() {
        let live = put_together(None, Some(landing(100, false)), traffic("switched"), &Names::default());
        assert_eq!(live.state, State::Switched);
    }

    #[test]
    fn after_the_switch_the_lag_is_that_of_reverse_replication() {
        let live = put_together(None, Some(landing(160, false)), traffic("switched"), &Names::default());
        assert_eq!(
            (live.lag_bytes, live.lag_seconds, live.daemon),
            (Some(5), Some(2.0), DaemonPresence::Down)
        );
        assert!(live.lag_is_estimate && live.reverse.is_some_and(|reverse| reverse.quarantined == Some(1)));
    }

    #[test]
    fn before_the_first_migration_the_document_says_so() {
        let live = put_together(None, Some(landing(100, false)), Some(None), &Names::default());
        assert_eq!(live.state, State::Stopped);
        assert!(live.last_error.unwrap().remedy.unwrap().contains("leadbridge migrate"));
    }

    #[test]
    fn the_daemons_own_measurement_wins() {
        let mut daemon = Live::starting();
        daemon.state = State::Streaming;
        (daemon.lag_bytes, daemon.lag_seconds) = (Some(0), Some(0.0));
        let live =
            put_together(Some(daemon), Some(landing(500, true)), traffic("streaming"), &Names::default());
        assert_eq!((live.lag_bytes, live.daemon), (Some(0), DaemonPresence::Running));
        assert!(!live.lag_is_estimate);
    }
}
