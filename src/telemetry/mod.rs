//! The daemon's knowledge about itself, in a single place: status, HTTP and systemd all read [`Live`].

mod cutover_report;
mod heartbeat;
pub mod http;
pub mod http_server;
mod lines;
mod live;
pub mod logging;
pub mod systemd;

use std::sync::Arc;

use tokio::sync::watch;

pub use cutover_report::CutoverReport;
pub use heartbeat::{Heartbeat, Heartbeats};
pub use live::{
    DaemonPresence, LastError, LeaseHolder, Live, ReverseReport, SlotReport, State, TableProgress,
};

/// A handle to the daemon's [`Live`] state; clones share the state.
#[derive(Clone, Debug)]
pub struct Telemetry {
    live: Arc<watch::Sender<Live>>,
    heartbeats: Heartbeats,
}

impl Telemetry {
    /// Begins with [`State::Starting`], at the present time.
    pub fn new() -> Self {
        let live = Arc::new(watch::Sender::new(Live::starting()));
        Telemetry { live, heartbeats: Heartbeats::default() }
    }

    /// Changes the state. Readers see all of a change or nothing. `change` must not block.
    pub fn update(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(change);
    }

    /// A copy of the present state.
    pub fn live(&self) -> Live {
        self.live.borrow().clone()
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
