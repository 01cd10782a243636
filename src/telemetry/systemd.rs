//! Notifications to systemd under `Type=notify`. Without systemd nothing happens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::{Live, State, Telemetry};

/// Interval of notifications. A person who reads the line in `systemctl status` needs no shorter interval.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a part of the daemon may be silent before the log names the part.
const SILENCE: Duration = Duration::from_secs(30);

/// Notifies systemd until `shutdown`: at once that the daemon is ready, because it runs and answers, whatever the
/// databases do; a status line; the watchdog's pings, for as long as every part of the daemon gives signs of life;
/// stopping. The caller spawns and joins the task.
pub async fn follow(telemetry: Telemetry, shutdown: CancellationToken) {
    tell(&[NotifyState::Ready]);
    let mut silence = Silence::default();
    let mut tick = tokio::time::interval(PAUSE);
    loop {
        let line = line(&telemetry.live());
        let mut states = vec![NotifyState::Status(&line)];
        match telemetry.heartbeats().all_beat() {
            Ok(()) => {
                silence = Silence::default();
                states.push(NotifyState::Watchdog);
            }
            Err(silent) => silence.goes_on(&silent),
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

/// Since when a part of the daemon has given no sign of life.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    is_told: bool,
}

impl Silence {
    fn goes_on(&mut self, parts: &[&str]) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.is_told && since.elapsed() >= SILENCE {
            self.is_told = true;
            tracing::error!(
                "no sign of life of {} for {} s: a watchdog of the service manager ends this process soon, and \
                 starts it again",
                parts.join(" and "),
                SILENCE.as_secs()
            );
        }
    }
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
