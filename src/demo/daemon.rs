//! `leadbridge run` as a process of its own, asked over HTTP like any daemon.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::guard::Home;
use crate::error::{Error, Result};
use crate::telemetry::Live;

/// Pause between two requests to the daemon.
const POLL: Duration = Duration::from_millis(50);
/// Far longer than any step takes: a condition that does not hold by then will not hold later.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Below the ports that Linux assigns to outgoing connections, so that no connection takes the daemon's port
/// between two starts.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A running daemon. Killed when dropped.
#[derive(Debug)]
pub struct DemoDaemon {
    child: Child,
    listen: SocketAddr,
}

impl DemoDaemon {
    /// Starts the running program's file as `leadbridge run` with the configuration in `home`.
    pub fn start(home: &Home, listen: SocketAddr) -> Result<Self> {
        let failed = |error| {
            Error::refused(format!("the daemon cannot be started: {error}"))
                .remedy("check that this program's file is still where it was started from")
        };
        let log = home.open_log()?;
        let errors = log.try_clone().map_err(failed)?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
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
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(pid) = child.id() {
            home.write_pid(pid)?;
        }
        Ok(DemoDaemon { child, listen })
    }

    /// The daemon's status; `None` while the daemon does not answer.
    ///
    /// # Errors
    /// Refused when the process has ended.
    pub async fn status(&mut self) -> Result<Option<Live>> {
        let ended = self.child.try_wait();
        if let Some(status) =
            ended.map_err(|error| Error::internal(format!("waiting for the daemon: {error}")))?
        {
            return Err(Error::refused(format!("the daemon ended by itself: {status}"))
                .remedy("see its last words above"));
        }
        let url = format!("http://{}/status", self.listen);
        let request = move || {
            let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
            agent.get(url).call().ok()?.body_mut().read_json::<Live>().ok()
        };
        tokio::task::spawn_blocking(request)
            .await
            .map_err(|error| Error::internal(format!("asking the daemon: {error}")))
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
        self.child.kill().await.map_err(|error| Error::internal(format!("killing the daemon: {error}")))
    }

    /// Sends SIGTERM, as systemd does. Returns the time until the daemon's end.
    ///
    /// # Errors
    /// Refused when the daemon does not end in time, or not with exit code 0.
    pub async fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        if let Some(pid) = self.child.id() {
            // The kernel gives the pid of an unwaited child to no other process. Fails only when the daemon
            // has already ended.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
        }
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended
            .map_err(|_| in_vain("the daemon to end after SIGTERM"))?
            .map_err(|error| Error::internal(format!("waiting for the daemon: {error}")))?;
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

/// An address for the daemon's HTTP on which no other process listens.
pub fn free_address() -> Result<SocketAddr> {
    let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    (0..100).map(|_| address(rand::random_range(PORTS))).find(free).ok_or_else(|| {
        Error::refused("no free port on 127.0.0.1").remedy("end some of the servers that listen there")
    })
}
