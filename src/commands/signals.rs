//! The signals that ask a command to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// Handlers of SIGTERM and SIGINT, so that neither ends the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        Ok(Signals {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal, and returns its name. Cancellation-safe: a signal that has come is kept.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The handler of one signal.
pub(super) fn handler(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::internal(format!("signals cannot be heard: {error}")))
}
