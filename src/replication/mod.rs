//! The replication loop: the only module that knows source, mapping, batches, target and checkpoint.
//!
//! An attempt connects, takes the lease, compares the recorded positions, runs an initial copy if no complete
//! copy exists, and streams. Every fault ends the attempt; no fault is repaired in place. Uncommitted work is
//! lost without harm, because the next attempt reads Traffic's position and continues from there: one
//! recovery for every fault.
//!
//! Traffic's checkpoint decides the direction of an attempt: forward from Landing, or (`back`) reverse from
//! Traffic.

mod attempt;
pub(crate) mod blocking;
mod copy;
mod copy_worker;
mod cuts;
mod follow;
mod forward_slot;
mod indexes;
mod intake;
pub(crate) mod last_error;
pub(crate) mod lease_holder;
mod liveness;
mod measure;
mod monitor;
pub(crate) mod newest_cutover;
mod pipeline;
pub mod progress;
mod repair;
mod repair_desk;
mod reverse;
mod stream_thread;
mod verifier;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{LocalStore, Published, ReplicatedSettings};
use crate::config::{Config, Settings};
use crate::error::{Error, Kind, Response, Result};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::telemetry::{LastError, State, Telemetry};
use cuts::Cuts;
use liveness::Liveness;
use progress::Progress;
use repair_desk::RepairDesk;
pub(crate) use verifier::last_round;

/// Time for an attempt to end after a shutdown request, because the attempt may be waiting for a lock of
/// another session. After this time the attempt is dropped; its uncommitted work is applied again by the next
/// start.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// On a shutdown request only.
    Shutdown,
    /// When everything that was committed on Landing before the start is applied on Traffic. After a cutover:
    /// when everything that was committed on Traffic before the start is applied on Landing.
    CaughtUp,
    /// When a new initial copy is complete, whatever state Traffic had before.
    Resynced,
}

/// State of a run, shared by its tasks.
struct Context {
    config: Config,
    /// Names as Landing has them, once an attempt has asked Landing. A table renamed later is refused by what
    /// the checkpoint records about the table, and found by the next run.
    found: OnceLock<Names>,
    tables: Vec<Table>,
    telemetry: Telemetry,
    store: LocalStore,
    progress: Arc<Progress>,
    liveness: Arc<Liveness>,
    /// Watches the sessions of background verification. A half-open one ends a comparison, and never the stream.
    verifying: Arc<Liveness>,
    repairs: RepairDesk,
    shutdown: CancellationToken,
    /// What the running stream relies on; `None` between streams.
    watched: Mutex<Option<Watched>>,
    /// Whether the latest stream was reverse replication. Between two attempts the monitor measures for the
    /// same direction.
    from_traffic: AtomicBool,
    /// A cutover or a rollback has changed the direction: the next attempt begins without a pause.
    turned: AtomicBool,
    /// Record of streams that were cut in a row.
    cuts: Mutex<Cuts>,
    /// Message of the error that the monitor has told and that lasts.
    told: Mutex<Option<String>>,
}

/// Direction of a running stream, and the state of the source that must not change meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Watched {
    /// Forward from Landing, whose publication must stay as recorded here.
    Landing(Published),
    /// Reverse from Traffic to Landing. Both sides' publications must stay as recorded here.
    Traffic(WatchedReverse),
}

/// What the sides of a reverse stream publish.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WatchedReverse {
    traffic: Published,
    /// Reverse replication goes on without, and a rollback does not. `None` when not recorded.
    landing: Option<Published>,
}

impl Watched {
    /// The side that is streamed from.
    fn source(&self) -> Side {
        match self {
            Watched::Landing(_) => Side::Landing,
            Watched::Traffic(_) => Side::Traffic,
        }
    }
}

impl Context {
    /// The names on both databases; before Landing was asked, as configured.
    fn names(&self) -> &Names {
        self.found.get().unwrap_or(&self.config.names)
    }

    /// The settings that decide what is replicated. To be called after Landing was asked for the names.
    fn replicated(&self) -> ReplicatedSettings {
        ReplicatedSettings::new(self.names(), &self.tables, &self.config.columns)
    }

    /// Asks Landing for the names, once in a run.
    async fn find_names(&self, landing: &Client) -> Result<()> {
        if self.found.get().is_none() {
            let names = self.config.names_on(landing).await?;
            // Attempts follow one another, so no other attempt has set the value meanwhile.
            let _ = self.found.set(names);
        }
        Ok(())
    }

    fn watch(&self, watched: Option<Watched>) {
        if let Some(watched) = &watched {
            self.from_traffic.store(watched.source() == Side::Traffic, Ordering::Relaxed);
        }
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn cuts(&self) -> MutexGuard<'_, Cuts> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a running stream, and clears the last error. The error stays when streams start well and are
    /// cut again and again.
    fn streams(&self, state: State) {
        self.telemetry.metrics().stream_begun();
        let keeps_failing = self.cuts().is_told();
        self.telemetry.update(|live| {
            live.state = state;
            if state == State::Streaming {
                live.reverse = None;
            }
            if !keeps_failing {
                live.last_error = None;
            }
        });
    }

    /// Reports an error that an operator has to end while replication goes on, or, with `None`, its end. The log
    /// tells the error once.
    fn tell(&self, error: Option<&Error>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *told, error.map(Error::message));
        let Some(error) = error else {
            let is_told = |last: &LastError| Some(&last.message) == before.as_ref();
            if before.is_some() {
                self.telemetry
                    .update(|live| live.last_error = live.last_error.take().filter(|last| !is_told(last)));
            }
            return;
        };
        if before != Some(error.message()) {
            tracing::error!("{error}");
        }
        self.telemetry.update(|live| live.last_error = Some(LastError::new(error)));
    }

    /// Reports the applied position to `status` without delay. The lag is reported by the monitor, which asks
    /// both servers.
    fn report_applied(&self, source: Side, at: Lsn) {
        self.telemetry.update(|live| match (source, &mut live.reverse) {
            (Side::Landing, _) => live.applied_lsn = Some(at),
            (Side::Traffic, Some(reverse)) => reverse.applied_lsn = Some(at),
            (Side::Traffic, None) => {}
        });
    }

    /// The side of the latest stream's source.
    fn source(&self) -> Side {
        if self.from_traffic.load(Ordering::Relaxed) { Side::Traffic } else { Side::Landing }
    }

    fn watched(&self) -> Option<Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A run that has ended, before its teardown.
pub struct EndedRun {
    /// Errors that an operator must resolve, broken invariants, and databases that cannot be reached at the
    /// start.
    pub result: Result<()>,
    monitor: JoinHandle<()>,
    verifier: JoinHandle<()>,
    context: Arc<Context>,
}

impl EndedRun {
    /// Joins the monitor and background verification, and closes the local store. Returns the run's result.
    ///
    /// # Errors
    /// The error of the run; `Internal` when one of the two has died.
    pub async fn close(self) -> Result<()> {
        let EndedRun { result, monitor, verifier, context } = self;
        monitor.await.map_err(|error| Error::internal(format!("the monitor: {error}")))?;
        verifier.await.map_err(|error| Error::internal(format!("background verification: {error}")))?;
        drop(context);
        result
    }
}

/// Replicates until the end that `until` names, or until `shutdown` is cancelled. After a shutdown request
/// the open Traffic transaction is finished, within a few seconds. After both databases were reached once, a lost
/// connection is retried without a limit.
pub async fn run(
    config: Config,
    store: LocalStore,
    telemetry: Telemetry,
    shutdown: CancellationToken,
    until: Until,
) -> EndedRun {
    let tables = config.tables();
    let context = Arc::new(Context {
        config,
        found: OnceLock::new(),
        tables,
        telemetry,
        store,
        progress: Arc::new(Progress::default()),
        liveness: Arc::new(Liveness::default()),
        verifying: Arc::new(Liveness::default()),
        repairs: RepairDesk::default(),
        shutdown,
        watched: Mutex::default(),
        from_traffic: AtomicBool::new(false),
        turned: AtomicBool::new(false),
        cuts: Mutex::default(),
        told: Mutex::default(),
    });
    let stop_monitor = context.shutdown.child_token();
    let monitor = tokio::spawn(monitor::watch(Arc::clone(&context), stop_monitor.clone()));
    let verifier = tokio::spawn(verifier::run(Arc::clone(&context), until, stop_monitor.clone()));
    let result = attempts(&context, until).await;
    stop_monitor.cancel();
    context.telemetry.update(|live| match &result {
        Ok(()) => live.state = State::Stopped,
        Err(error) => {
            live.state = State::Error;
            live.last_error = Some(LastError::new(error));
        }
    });
    EndedRun { result, monitor, verifier, context }
}

/// Time for a task that writes to the local store to end with its stream.
const STORE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Joins a task that writes to the local store. A task that waits for a disk that does not answer is given up, so that
/// the disk does not hide why the stream has ended.
async fn joined(mut task: JoinHandle<Result<()>>, what: &str) -> Result<()> {
    match tokio::time::timeout(STORE_PATIENCE, &mut task).await {
        Ok(done) => done.map_err(|error| Error::internal(format!("{what}: {error}")))?,
        Err(_) => {
            task.abort();
            tracing::warn!(
                "{what} does not end with the stream: does the disk of the state directory answer?"
            );
            Ok(())
        }
    }
}

async fn grace(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Growing pauses between attempts. Their jitter differs between processes, because two daemons that lost the
/// same server must not reconnect in step.
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
    let heartbeat = context.telemetry.heartbeats().begin("the replication loop");
    loop {
        let before = context.progress.standing().applied();
        // Dropping an attempt is safe at any point: uncommitted work is applied again by the next attempt.
        let attempted = tokio::select! {
            attempted = Box::pin(run.attempt(context)) => attempted,
            never = heartbeat.pulse() => match never {},
            () = grace(&context.shutdown) => {
                tracing::warn!("the running batch did not finish in time: the next start applies the batch \
                                again");
                return run.stopped();
            }
        };
        context.telemetry.metrics().queued(0, 0);
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
        let cause = std::error::Error::source(&error).map(tracing::field::display);
        let (step, table, lsn) = (error.step(), error.table(), error.lsn().map(tracing::field::display));
        tracing::warn!(retry_in = ?wait, step, table, lsn, cause, "{error}");
        context.telemetry.metrics().retried(error.kind());
        context.telemetry.update(|live| {
            live.state = State::Error;
            live.last_error = Some(LastError::new(&error));
        });
        tokio::select! {
            () = context.shutdown.cancelled() => return run.stopped(),
            never = heartbeat.pulse() => match never {},
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
