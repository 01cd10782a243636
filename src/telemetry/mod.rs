//! The daemon's knowledge about itself, in a single place: status, `/metrics` and systemd all read [`Live`]. `history`
//! keeps the recent past, `outlook` says what follows from it, and `past` keeps what charts show.

mod alert_facts;
pub mod columns;
pub mod conditions;
mod cutover_report;
mod heartbeat;
pub mod history;
pub mod http;
pub mod http_access;
pub mod http_server;
mod last_error;
mod lines;
mod live;
pub mod logging;
mod metrics;
pub mod outlook;
pub mod past;
#[cfg(test)]
pub mod scenes_for_tests;
mod sessions;
pub mod systemd;
mod verification_report;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

pub use alert_facts::{AbortedChange, AlertChannelReport, CertificateEnds};
use columns::ChartColumn;
pub use cutover_report::{CutoverReport, CutoverStep, FenceEnd, StepMark};
pub use heartbeat::{Heartbeat, Heartbeats};
use history::{History, Sample};
pub use last_error::LastError;
pub use live::{DaemonPresence, Live, ReverseReport, SlotReport, State, TableProgress};
pub use metrics::Metrics;
use outlook::Outlook;
use past::{Past, Window};
pub use sessions::{BlockingSession, LeaseHolder};
pub use verification_report::{
    DifferingRows, LastRound, RoundReport, VerificationActivity, VerificationReport,
};

/// A handle to the daemon's [`Live`] state, its recent past and its metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Telemetry {
    live: Arc<watch::Sender<Live>>,
    heartbeats: Heartbeats,
    history: Arc<Mutex<History>>,
    past: Arc<Mutex<Past>>,
    metrics: Arc<Metrics>,
    begun: Instant,
}

impl Telemetry {
    /// Begins with [`State::Starting`], at the present time.
    pub fn new() -> Self {
        let live = Arc::new(watch::Sender::new(Live::starting()));
        Telemetry {
            metrics: Arc::new(Metrics::new(live.subscribe())),
            live,
            heartbeats: Heartbeats::default(),
            history: Arc::default(),
            past: Arc::default(),
            begun: Instant::now(),
        }
    }

    /// Changes the state. Readers see all of a change or nothing. `change` must not block.
    pub fn update(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(change);
    }

    /// Changes figures that no task acts on: receivers of changes are not woken. `change` must not block.
    pub fn update_quietly(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_if_modified(|live| {
            change(live);
            false
        });
    }

    /// A copy of the present state.
    pub fn live(&self) -> Live {
        self.live.borrow().clone()
    }

    /// Takes the present state into the history, and updates rate, trend and survival. To be called once in each of the
    /// monitor's rounds; `answered` is whether the server that is streamed from has answered in this round.
    pub fn sample(&self, answered: bool) {
        let now = self.begun.elapsed();
        self.past().add(&self.live.borrow(), now, answered);
        let mut history = self.history();
        history.add(Sample::of(&self.live.borrow(), now, answered));
        let outlook = Outlook::of(&history, &self.live.borrow());
        drop(history);
        self.update(|live| outlook.tell(live));
    }

    /// The past for charts: the columns of the window that ends now.
    pub fn columns(&self, window: Window) -> Vec<ChartColumn> {
        self.past().columns(window, self.begun.elapsed())
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        // As in `history`.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The recent past. Must not be held across an `await`.
    ///
    /// Ignores a poisoned lock, because no holder of the lock can panic between two changes of the value.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of the replication, and the text of `/metrics`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Signs of life of the daemon's parts.
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// A receiver of changes, for a task that acts on changes instead of polling.
    pub fn subscribe(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}
