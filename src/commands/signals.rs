//! The signals that ask a command to end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// Handlers of SIGTERM and SIGINT. The first signal ends nothing by itself; the second, of either kind, ends the
/// process at once, as without a handler.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let again = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            // In this order: the first action sees whether an earlier signal has run the second. Both run within
            // the handler itself, so that no stuck thread of the process can hold up a second signal.
            flag::register_conditional_default(number, Arc::clone(&again)).map_err(unheard)?;
            flag::register(number, Arc::clone(&again)).map_err(unheard)?;
        }
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
    signal(kind).map_err(unheard)
}

fn unheard(error: std::io::Error) -> Error {
    Error::internal(format!("signals cannot be heard: {error}"))
}
