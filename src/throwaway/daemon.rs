//! `leadbridge run` as a child process, for the demo, the tests and the benchmark.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::error::{Error, Result};
use crate::language::Message;

/// A running daemon, or another command of the program. Killed when dropped.
#[derive(Debug)]
pub struct DaemonProcess(Child);

impl DaemonProcess {
    /// # Errors
    /// Refused when the program's file cannot be run.
    pub fn start(mut command: Command) -> Result<Self> {
        command.kill_on_drop(true).spawn().map(DaemonProcess).map_err(|error| {
            Error::refused(format!("the daemon cannot be started: {error}")).remedy(Message::verbatim(
                "check that this program's file is still where it was started from",
            ))
        })
    }

    /// The process's id; `None` once the end has been seen.
    pub fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// `None` while the process runs.
    pub fn end(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().map_err(|error| waiting(&error))
    }

    /// Waits for the end; `None` when `limit` passes first.
    pub async fn end_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        match tokio::time::timeout(limit, self.0.wait()).await {
            Ok(status) => status.map(Some).map_err(|error| waiting(&error)),
            Err(_) => Ok(None),
        }
    }

    /// # Errors
    /// As [`signal`].
    pub fn signal(&self, signal_to_send: Signal) -> Result<()> {
        signal(&self.0, signal_to_send)
    }

    /// Sends SIGKILL, so that the process cannot finish anything. Returns when the process is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.0.kill().await.map_err(|error| Error::internal(format!("killing the daemon: {error}")))
    }

    /// As [`peak_memory`].
    pub fn peak_memory(&self) -> Option<u64> {
        peak_memory(self.id()?)
    }
}

/// Sends a signal to a child process.
///
/// # Errors
/// Internal when the end of the process has been seen already.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    let gone = || Error::internal(format!("{signal} is for a process that has ended"));
    // The kernel gives the pid of an unwaited child to no other process; the cast is the inverse of std's own.
    let pid = child.id().ok_or_else(gone)?.cast_signed();
    kill(Pid::from_raw(pid), signal).map_err(|_| gone())
}

/// The most memory that a process ever had resident, in bytes: `VmHWM` of Linux. `None` once the process has
/// ended.
pub fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

fn waiting(error: &std::io::Error) -> Error {
    Error::internal(format!("waiting for the daemon: {error}"))
}
