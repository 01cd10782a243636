//! What the daemon knows about itself, in one place: status, HTTP, systemd and later metrics all read [`Live`].

pub mod http;
mod live;
pub mod logging;
pub mod systemd;

use std::sync::Arc;

use tokio::sync::watch;

pub use live::{DaemonPresence, LastError, Live, ReverseReport, SlotReport, State, TableProgress};

/// A handle to the daemon's [`Live`] state; clones share it.
#[derive(Clone, Debug)]
pub struct Telemetry {
    live: Arc<watch::Sender<Live>>,
}

impl Telemetry {
    /// Starts at [`State::Starting`], now.
    pub fn new() -> Self {
        Telemetry { live: Arc::new(watch::Sender::new(Live::starting())) }
    }

    /// Changes the state; readers see all of a change or nothing of it. `change` must not block.
    pub fn update(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(change);
    }

    /// A copy of the state as it is now.
    pub fn live(&self) -> Live {
        self.live.borrow().clone()
    }

    /// For who acts on changes instead of asking.
    pub fn subscribe(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}
