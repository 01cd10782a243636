//! One run of `postgres`, from its start to its end.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::owner::io;
use super::template::Template;
use crate::error::{Error, Result};

/// Pause between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct ServerProcess(Child);

/// Result of a start.
pub(super) enum ServerStart {
    Running(ServerProcess),
    /// The process ended before the server took connections; holds the end of the server's log.
    Ended(String),
}

impl ServerProcess {
    /// Starts the server in `dir` and waits until `url` takes connections.
    pub async fn start(template: &Template, dir: &Path, port: u16, url: &str) -> Result<ServerStart> {
        let log = dir.join("log");
        let output =
            File::options().create(true).append(true).open(&log).map_err(|e| io("opening", &log, &e))?;
        let errors = output.try_clone().map_err(|e| io("opening", &log, &e))?;
        let program = template.binaries.program("postgres");
        let child = template
            .owner
            .command(&program, dir)
            .args(["-D", "data", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|e| io("running", &program, &e))?;
        let mut server = ServerProcess(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if server.has_ended()? {
                return Ok(ServerStart::Ended(tail(&log)));
            }
            if tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_ok() {
                return Ok(ServerStart::Running(server));
            }
            if Instant::now() > deadline {
                server.end(Signal::SIGQUIT);
                return Err(Error::refused(format!("PostgreSQL takes no connections: {}", tail(&log))));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends `signal` and waits until the process is gone.
    pub async fn stop(mut self, signal: Signal) -> Result<()> {
        self.signal(signal);
        while !self.has_ended()? {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Like [`ServerProcess::stop`] without a runtime, for destructors.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        // Fails only when the process has been waited for already, and then the process is gone.
        let _ = self.0.wait();
    }

    pub fn signal(&self, signal: Signal) {
        // The kernel gives the pid of an unwaited child to no other process; the cast is the inverse of std's
        // own.
        let pid = Pid::from_raw(self.0.id() as i32);
        // Fails only when the process has already ended.
        let _ = kill(pid, signal);
    }

    fn has_ended(&mut self) -> Result<bool> {
        let status = self.0.try_wait();
        Ok(status.map_err(|e| Error::internal(format!("waiting for postgres: {e}")))?.is_some())
    }
}

/// A server must not outlive a failed start, nor a panic.
impl Drop for ServerProcess {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            self.end(Signal::SIGQUIT);
        }
    }
}

/// The last lines of a server's log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}
