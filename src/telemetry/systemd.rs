//! Notifications to systemd under `Type=notify`. Without systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::{Live, State, Telemetry};

/// Interval of notifications. A person who reads the line in `systemctl status` needs no shorter interval.
const PAUSE: Duration = Duration::from_secs(2);

/// Extension of systemd's start timeout, requested while a long snapshot keeps the daemon from being ready.
const PATIENCE_MICROSECONDS: u32 = 60_000_000;

/// Notifies systemd of the state until `shutdown`: ready once the daemon streams, in either direction; a
/// status line; stopping. The caller spawns and joins the task.
pub async fn follow(telemetry: Telemetry, shutdown: CancellationToken) {
    let mut ready = false;
    let mut tick = tokio::time::interval(PAUSE);
    loop {
        let live = telemetry.live();
        let line = line(&live);
        let mut states = vec![NotifyState::Status(&line)];
        if !ready && matches!(live.state, State::Streaming | State::Switched) {
            ready = true;
            states.push(NotifyState::Ready);
        } else if !ready {
            states.push(NotifyState::ExtendTimeoutUsec(PATIENCE_MICROSECONDS));
        }
        tell(&states);
        // Both branches keep no state, so dropping either loses nothing.
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
    }
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing the transaction in hand")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Status line for `systemctl status`.
fn line(live: &Live) -> String {
    match (live.state, live.lag_bytes, live.lag_seconds) {
        (State::Snapshot, ..) => match live.snapshot_rows() {
            (done, Some(expected)) => format!("snapshot: {done} of about {expected} rows"),
            (done, None) => format!("snapshot: {done} rows"),
        },
        (State::Streaming | State::Switched, Some(bytes), Some(seconds)) => {
            format!("{}, {seconds:.1} s and {bytes} bytes behind", live.state)
        }
        (state, ..) => match &live.last_error {
            Some(error) if state == State::Error => format!("error: {}", error.message),
            _ => state.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_where_the_daemon_is() {
        let mut live = Live::starting();
        assert_eq!(line(&live), "starting");
        live.state = State::Streaming;
        (live.lag_bytes, live.lag_seconds) = (Some(7), Some(0.25));
        assert_eq!(line(&live), "streaming, 0.2 s and 7 bytes behind");
    }

    #[tokio::test]
    async fn without_systemd_nothing_is_told_and_the_task_still_ends() {
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        follow(Telemetry::new(), shutdown).await;
    }
}
