//! The operator's own command, which points the applications to the other database.

use std::process::Stdio;
use std::time::Duration;

use super::journal::CutoverRun;
use crate::error::{Error, Result};

/// Reason for running the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The old database refuses writes from now on: the applications must use the other database.
    Switch,
    /// The cutover or rollback was aborted: the applications must use the old database again.
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

/// Runs `command` with `sh -c`. Environment variables name the event, the direction and the cutover. Output
/// of the command goes to stderr.
///
/// # Errors
/// Refused when the command fails, or is killed because `limit` is over.
pub async fn call(command: &str, event: Event, run: CutoverRun, limit: Duration) -> Result<()> {
    let mut child = tokio::process::Command::new("/bin/sh");
    child
        .args(["-c", command])
        .env("LEADBRIDGE_EVENT", event.as_str())
        .env("LEADBRIDGE_DIRECTION", run.direction.as_str())
        .env("LEADBRIDGE_CUTOVER_ID", run.id.to_string())
        // Our stdout carries one document, the result; and nobody answers a prompt.
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .kill_on_drop(true);
    let failed = |what: String| {
        Err(Error::refused(format!("the hook {what}")).remedy(
            "run the hook by hand, fix it, and try again; LEADBRIDGE_EVENT tells the hook what to do",
        ))
    };
    match tokio::time::timeout(limit, child.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => failed(format!("failed: {status}")),
        Ok(Err(error)) => failed(format!("cannot be run: {error}")),
        Err(_) => failed(format!("did not end within {:.1} s", limit.as_secs_f64())),
    }
}
