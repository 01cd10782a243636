//! A running daemon: the real binary, observed over HTTP, ended by signals.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leadbridge::telemetry::http;
use leadbridge::throwaway::{DaemonProcess, ReservedPort};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::Command;

use super::{Bridge, World, memory, tried_for_a_minute, until, until_true, within};

/// Longest wait for one answer of the daemon.
const ANSWER: Duration = Duration::from_secs(5);

/// Killed when dropped.
pub struct Daemon {
    process: DaemonProcess,
    port: ReservedPort,
    log: PathBuf,
    /// The highest memory reading.
    peak: AtomicU64,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.peak_memory();
        memory::report(self.peak.load(Ordering::Relaxed));
    }
}

impl Daemon {
    /// Returns once the daemon answers over HTTP. `environment` comes on top of the installation's.
    pub async fn start(bridge: &Bridge, environment: &[(&str, &str)]) -> Daemon {
        loop {
            let port = ReservedPort::for_daemon().unwrap();
            let mut daemon = Self::spawn_with(bridge, environment, port, None);
            let answered = until("the daemon answers or ends", async || {
                // Another program took the port before the daemon bound the port.
                if daemon.log().contains(&format!("{} is in use", daemon.port.address())) {
                    return Some(false);
                }
                assert!(daemon.exit_code().is_none(), "the daemon ended: {}", daemon.log());
                daemon.asked().await.map(|_| true)
            });
            if answered.await {
                return daemon;
            }
        }
    }

    /// Returns at once.
    pub fn spawn(bridge: &Bridge, environment: &[(&str, &str)], port: ReservedPort) -> Daemon {
        Self::spawn_with(bridge, environment, port, None)
    }

    /// Starts a daemon with a stderr of the test's own, without waiting for an answer. [`Daemon::log`] stays empty.
    pub fn logging_to(bridge: &Bridge, stderr: Stdio) -> Daemon {
        Self::spawn_with(bridge, &[], ReservedPort::for_daemon().unwrap(), Some(stderr))
    }

    fn spawn_with(
        bridge: &Bridge,
        environment: &[(&str, &str)],
        port: ReservedPort,
        stderr: Option<Stdio>,
    ) -> Daemon {
        let log = bridge.dir().join(format!("log-{}", rand::random::<u64>()));
        let file = File::create(&log).unwrap();
        let mut command = bridge.command(&["run"]);
        command
            .env("LEADBRIDGE_HTTP_LISTEN", port.address().to_string())
            .env("LEADBRIDGE_LOG", "leadbridge=debug")
            .envs(environment.iter().copied())
            .stdout(file.try_clone().unwrap())
            .stderr(stderr.unwrap_or(file.into()));
        Daemon { process: DaemonProcess::start(command).unwrap(), port, log, peak: AtomicU64::new(0) }
    }

    /// Address of the daemon's HTTP.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The log so far, from stdout and stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// A command of the same installation, which finds this daemon.
    pub fn command(&self, bridge: &Bridge, arguments: &[&str]) -> Command {
        let mut command = bridge.command(arguments);
        command.env("LEADBRIDGE_HTTP_LISTEN", self.port.address().to_string());
        command
    }

    /// The body of the answer to `GET path`; `None` without an answer.
    pub async fn get(&self, path: &'static str) -> Option<String> {
        Some(http::get_page(self.port.address(), path, ANSWER).await?.1)
    }

    /// The daemon's status; `None` without an answer.
    pub async fn asked(&self) -> Option<Value> {
        self.peak_memory();
        http::ask(self.port.address(), None, ANSWER).await.ok().flatten()
    }

    /// `GET /status`, once the daemon answers.
    pub async fn status(&mut self) -> Value {
        let status = until("the daemon tells its status", async || {
            assert!(self.exit_code().is_none(), "the daemon ended: {}", self.log());
            self.asked().await
        });
        status.await
    }

    /// Waits until the status is as wanted; fails after a minute with the last status.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let looked = tried_for_a_minute(async || {
            last = self.status().await;
            wanted(&last).then(|| last.clone())
        });
        match looked.await {
            Some(status) => status,
            None => panic!("in vain: {what}; the daemon says {last}"),
        }
    }

    pub async fn streaming(&mut self) {
        self.until("the daemon streams", |status| status["state"] == "streaming").await;
    }

    /// Waits until every present commit of Landing is applied.
    pub async fn caught_up(&mut self, world: &World) {
        let landing = world.landing().await;
        // A commit that also flushes earlier asynchronous commits, so that no change waits for the WAL writer. The
        // stream does not show the commit, because a temporary table is not published.
        landing.batch_execute("CREATE TEMPORARY TABLE flushed ()").await.unwrap();
        let sql = "SELECT pg_current_wal_flush_lsn()::text";
        let goal: String = landing.query_one(sql, &[]).await.unwrap().get(0);
        let goal: leadbridge::model::lsn::Lsn = goal.parse().unwrap();
        self.until("the daemon catches up", |status| {
            status["state"] == "streaming"
                && status["applied_lsn"]
                    .as_str()
                    .is_some_and(|at| at.parse::<leadbridge::model::lsn::Lsn>().unwrap() >= goal)
        })
        .await;
    }

    /// The exit code after the daemon's own end; -1 after a signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.end().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// The peak of resident memory (Linux's `VmHWM`), in bytes.
    /// `None` after the end.
    pub fn peak_memory(&self) -> Option<u64> {
        let peak = self.process.peak_memory()?;
        self.peak.fetch_max(peak, Ordering::Relaxed);
        Some(peak)
    }

    /// The highest reading of the peak so far, also after the end.
    pub fn last_peak_memory(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub fn pid(&self) -> u32 {
        self.process.id().expect("not waited for")
    }

    pub fn signal(&self, signal: Signal) {
        self.peak_memory();
        self.process.signal(signal).unwrap();
    }

    /// `kill -9`; returns when the process is gone.
    pub async fn kill(mut self) {
        self.peak_memory();
        self.process.kill().await.unwrap();
    }

    /// The exit status; `None` while the daemon runs.
    pub fn ended_already(&mut self) -> Option<ExitStatus> {
        self.process.end().unwrap()
    }

    /// Waits for the daemon's own end.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the daemon ends", async || self.process.end().unwrap()).await
    }

    /// SIGTERM, which must end the daemon with exit code 0 within seconds.
    pub async fn terminate(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Waits until the log contains `text`.
    pub async fn logs(&self, text: &str) {
        until_true(text, async || self.log().contains(text)).await;
    }
}
