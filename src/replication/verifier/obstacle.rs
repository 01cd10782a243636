//! When background verification rests; pure.

use crate::config::BackgroundVerify;
use crate::telemetry::{Live, State};

/// Why nothing is compared at the moment, for people; `None` when nothing stands in the way.
pub fn of(live: &Live, settings: &BackgroundVerify) -> Option<String> {
    let why = match live.state {
        State::Streaming => return of_stream(live, settings),
        State::Snapshot => "the first copy is under way",
        State::Fenced | State::Drained | State::Verified => "a cutover or a rollback is under way",
        State::Switched => {
            "Traffic is the system of record since the cutover; a rollback compares both sides before it switches"
        }
        State::Starting | State::Standby | State::Stopped | State::Error => "no stream runs here",
    };
    Some(why.to_owned())
}

fn of_stream(live: &Live, settings: &BackgroundVerify) -> Option<String> {
    let limit = settings.max_lag_seconds;
    match live.lag_seconds {
        None => return Some("the lag is not known".to_owned()),
        Some(seconds) if seconds > limit => {
            return Some(format!("the lag is longer than {limit} s ([verify] max_lag_seconds)"));
        }
        Some(_) => {}
    }
    let is_blocked = live.blocked_by.as_ref().is_some_and(|sessions| !sessions.is_empty());
    is_blocked.then(|| "another session holds a lock for which leadbridge waits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Settings};
    use crate::model::side::Side;
    use crate::telemetry::BlockingSession;

    fn settings() -> BackgroundVerify {
        Settings::load(&Flags::default(), &|_| None).unwrap().verify
    }

    fn streaming(lag: Option<f64>) -> Live {
        let mut live = Live::starting();
        (live.state, live.lag_seconds) = (State::Streaming, lag);
        live
    }

    #[test]
    fn a_stream_with_little_lag_is_no_obstacle_and_every_other_state_is() {
        assert_eq!(of(&streaming(Some(9.9)), &settings()), None);
        for state in State::ALL.into_iter().filter(|state| *state != State::Streaming) {
            let live = Live { state, ..streaming(Some(0.0)) };
            assert!(of(&live, &settings()).is_some(), "{state}");
        }
    }

    #[test]
    fn a_lag_over_the_limit_or_not_known_and_a_session_that_blocks_are_obstacles() {
        assert!(of(&streaming(Some(10.1)), &settings()).unwrap().contains("longer than 10 s"));
        assert!(of(&streaming(None), &settings()).unwrap().contains("not known"));
        let mut live = streaming(Some(0.0));
        let blocking = BlockingSession {
            side: Side::Traffic,
            pid: Some(7),
            role: None,
            application_name: None,
            client_address: None,
            transaction_seconds: None,
            waited_seconds: None,
        };
        live.blocked_by = Some(vec![blocking]);
        assert!(of(&live, &settings()).unwrap().contains("lock"));
    }
}
