//! The operator's own command, which points the applications to the other database.

use std::process::Stdio;
use std::time::Duration;

use uuid::Uuid;

use super::journal::Direction;
use crate::error::{Error, Result};

/// Why it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The old database refuses writes from now on: use the other one.
    Switch,
    /// It came to nothing after all: use the old one again.
    Abort,
}

impl Event {
    fn as_str(self) -> &'static str {
        match self {
            Event::Switch => "switch",
            Event::Abort => "abort",
        }
    }
}

/// Runs `command` with `sh -c`, and tells it in its environment what this is about. What it prints goes to stderr.
///
/// # Errors
/// Refused when it fails, or has not ended within `limit`: it is killed then.
pub async fn run(
    command: &str,
    event: Event,
    direction: Direction,
    cutover: Uuid,
    limit: Duration,
) -> Result<()> {
    let mut child = tokio::process::Command::new("/bin/sh");
    child
        .args(["-c", command])
        .env("LEADBRIDGE_EVENT", event.as_str())
        .env("LEADBRIDGE_DIRECTION", direction.as_str())
        .env("LEADBRIDGE_CUTOVER_ID", cutover.to_string())
        // The result on our stdout is one document, and nobody answers a question.
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .kill_on_drop(true);
    let failed = |what: String| {
        Err(Error::refused(format!("the hook {what}"))
            .remedy("run it by hand, mend it, and begin again; it is told by LEADBRIDGE_EVENT what to do"))
    };
    match tokio::time::timeout(limit, child.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => failed(format!("failed: {status}")),
        Ok(Err(error)) => failed(format!("cannot be run: {error}")),
        Err(_) => failed(format!("did not end within {:.1} s", limit.as_secs_f64())),
    }
}
