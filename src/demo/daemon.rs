//! `leadbridge run` as a process of its own, asked over HTTP like any daemon.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::process::Command;

use super::home::Home;
use crate::error::{Error, Result};
use crate::language::Message;
use crate::telemetry::{Live, http};
use crate::throwaway::DaemonProcess;

/// Pause between two requests to the daemon.
const POLL: Duration = Duration::from_millis(50);
/// Far longer than any step takes: a condition that does not hold by then will not hold later.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon. Killed when dropped.
#[derive(Debug)]
pub struct DemoDaemon {
    process: DaemonProcess,
    listen: SocketAddr,
}

impl DemoDaemon {
    /// Starts the running program's file as `leadbridge run` with the configuration in `home`.
    pub fn start(home: &Home, listen: SocketAddr) -> Result<Self> {
        let failed = |error| Error::refused(format!("the daemon cannot be started: {error}"));
        let log = home.open_log()?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg("--config")
            .arg(home.config())
            .arg("run")
            // The shell's configuration of leadbridge is not meant for the demo.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // An interrupt typed at the terminal reaches only the demo, and the demo ends the daemon in an
            // orderly way.
            .process_group(0);
        let process = DaemonProcess::start(command)?;
        if let Some(pid) = process.id() {
            home.write_pid(pid)?;
        }
        Ok(DemoDaemon { process, listen })
    }

    /// The daemon's status; `None` while the daemon does not answer.
    ///
    /// # Errors
    /// Refused when the process has ended.
    pub async fn status(&mut self) -> Result<Option<Live>> {
        if let Some(status) = self.process.end()? {
            return Err(Error::refused(format!("the daemon ended by itself: {status}"))
                .remedy(Message::verbatim("see its last words above")));
        }
        http::ask(self.listen, None, PATIENCE).await
    }

    /// Asks until `wanted` returns a value; `wanted` sees every answer.
    ///
    /// # Errors
    /// Internal, after [`PATIENCE`], with `what` as the awaited condition.
    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Live) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(live) = self.status().await?
                && let Some(found) = wanted(&live)
            {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(in_vain(what));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends SIGKILL, so that the daemon cannot finish anything. Returns when the process is gone.
    pub async fn kill(mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Sends SIGTERM, as systemd does. Returns the time until the daemon's end.
    ///
    /// # Errors
    /// Refused when the daemon does not end in time, or not with exit code 0.
    pub async fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        // Fails only when the daemon has already ended.
        let _ = self.process.signal(Signal::SIGTERM);
        let ended = self.process.end_within(PATIENCE).await?;
        let status = ended.ok_or_else(|| in_vain("the daemon to end after SIGTERM"))?;
        if status.success() {
            Ok(asked.elapsed())
        } else {
            Err(Error::refused(format!("the daemon did not end well after SIGTERM: {status}")))
        }
    }
}

/// A condition that did not become true in time.
pub fn in_vain(what: &str) -> Error {
    Error::internal(format!("waited {} s in vain for {what}", PATIENCE.as_secs()))
}
