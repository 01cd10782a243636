//! The loop that ties the stages together; the only room that knows them all.
//!
//! An attempt connects, takes the lease, compares the positions, copies if there is no complete snapshot, and
//! streams. Whatever goes wrong ends the attempt; nothing is patched up in place. What was not committed never
//! happened, so the next attempt reads Traffic's position and goes on from there: one recovery for every fault.
//!
//! Which way an attempt streams, from Landing or (`back`) from Traffic, is what Traffic's checkpoint says.

mod acknowledger;
mod attempt;
mod copy;
mod copy_outcome;
mod cuts;
mod follow;
mod indexes;
pub(crate) mod last_error;
pub(crate) mod lease;
mod liveness;
mod measure;
mod monitor;
mod pipeline;
pub mod progress;
pub mod repair;
mod reverse;
mod shape;
mod stream_thread;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

use crate::change::Table;
use crate::checkpoint::{LocalStore, Published};
use crate::config::{Config, Settings};
use crate::error::{Error, Kind, Response, Result};
use crate::telemetry::{LastError, State, Telemetry};
use cuts::Cuts;
use liveness::Liveness;
use progress::Progress;

/// How long an attempt may take to end after the daemon was told to stop: somebody may hold a lock that it waits
/// for. It is dropped then, and what it had not committed never happened.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Only when it is told to.
    Shutdown,
    /// Once everything that was committed on Landing before the start is applied; after a cutover, everything that
    /// was committed on Traffic is carried back.
    CaughtUp,
    /// Once a fresh snapshot is complete, whatever was there before.
    Resynced,
}

/// Everything a run needs, shared by its tasks.
struct Context {
    config: Config,
    tables: Vec<Table>,
    telemetry: Telemetry,
    store: LocalStore,
    progress: Arc<Progress>,
    liveness: Arc<Liveness>,
    shutdown: CancellationToken,
    /// What the stream that runs now relies on.
    watched: Mutex<Option<Watched>>,
    /// Whether the latest stream was reverse replication: what is measured between two attempts is measured for it.
    back: AtomicBool,
    /// A cutover or a rollback has turned the direction: the next attempt begins at once.
    turned: AtomicBool,
    /// How the latest streams ended.
    cuts: Mutex<Cuts>,
}

/// Which way changes flow, and what must stay as it is meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Watched {
    /// From Landing, which must go on publishing this.
    Landing(Published),
    /// From Traffic, back to Landing.
    Traffic,
}

impl Watched {
    fn is_back(&self) -> bool {
        *self == Watched::Traffic
    }
}

impl Context {
    fn watch(&self, watched: Option<Watched>) {
        if let Some(watched) = &watched {
            self.back.store(watched.is_back(), Ordering::Relaxed);
        }
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    /// Nobody leaves it half changed: after a panic elsewhere it is as good as before.
    fn cuts(&self) -> MutexGuard<'_, Cuts> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream runs: what went wrong before it is over, unless streams begin well and are cut again and again.
    fn streams(&self, state: State) {
        let keeps_failing = self.cuts().is_told();
        self.telemetry.update(|live| {
            live.state = state;
            if !keeps_failing {
                live.last_error = None;
            }
        });
    }

    fn watched(&self) -> Option<Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Replicates until `until`, or until `shutdown` is cancelled; then the transaction in hand is finished.
///
/// # Errors
/// What an operator must decide, what must never happen, and databases that cannot be reached when it starts.
/// Once both were reached, a lost connection is retried for as long as it takes.
pub async fn run(
    config: Config,
    store: LocalStore,
    telemetry: Telemetry,
    shutdown: CancellationToken,
    until: Until,
) -> Result<()> {
    let tables = config.tables();
    let context = Arc::new(Context {
        config,
        tables,
        telemetry,
        store,
        progress: Arc::new(Progress::default()),
        liveness: Arc::new(Liveness::default()),
        shutdown,
        watched: Mutex::default(),
        back: AtomicBool::new(false),
        turned: AtomicBool::new(false),
        cuts: Mutex::default(),
    });
    let stop_monitor = context.shutdown.child_token();
    let monitor = tokio::spawn(monitor::watch(Arc::clone(&context), stop_monitor.clone()));
    let result = attempts(&context, until).await;
    stop_monitor.cancel();
    monitor.await.map_err(|error| Error::internal(format!("the monitor: {error}")))?;
    context.telemetry.update(|live| match &result {
        Ok(()) => live.state = State::Stopped,
        Err(error) => {
            live.state = State::Error;
            live.last_error = Some(LastError::new(error));
        }
    });
    result
}

async fn grace(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Pauses between attempts that grow. Their jitter differs from process to process: two daemons that lost the same
/// server do not come back to it in step.
fn pauses(settings: &Settings) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(settings.retry_initial)
        .with_max_delay(settings.retry_max)
        .without_max_times()
        .with_jitter()
}

async fn attempts(context: &Arc<Context>, until: Until) -> Result<()> {
    let pauses = pauses(&context.config);
    let mut pause = pauses.build();
    let mut run = attempt::Attempts::new(until);
    loop {
        let before = context.progress.standing().applied();
        // Dropping an attempt is safe anywhere: what was not committed never happened.
        let attempted = tokio::select! {
            attempted = Box::pin(run.attempt(context)) => attempted,
            () = grace(&context.shutdown) => {
                tracing::warn!("what was in hand did not finish in time: it is begun again at the next start");
                return run.stopped();
            }
        };
        let error = match attempted {
            Ok(()) => return run.stopped(),
            Err(_) if context.shutdown.is_cancelled() => return run.stopped(),
            Err(error) => error,
        };
        if context.turned.swap(false, Ordering::Relaxed) {
            tracing::info!("{error}");
            continue;
        }
        let never_reached = error.kind() == Kind::Unreachable && !run.reached();
        if error.response() != Response::Retry || never_reached {
            return Err(error);
        }
        if context.progress.standing().applied() > before {
            pause = pauses.build();
        }
        let wait = pause.next().unwrap_or(context.config.retry_max);
        tracing::warn!(retry_in = ?wait, "{error}");
        context.telemetry.update(|live| {
            live.state = State::Error;
            live.last_error = Some(LastError::new(&error));
        });
        tokio::select! {
            () = context.shutdown.cancelled() => return run.stopped(),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn the_pauses_between_attempts_differ_from_run_to_run() {
        let settings = Settings::load(&Flags::default(), &|_| None).unwrap();
        let of_a_run = || pauses(&settings).build().take(4).collect::<Vec<_>>();
        assert_ne!(of_a_run(), of_a_run());
    }
}
