//! The real binary as a child process, and the child's use of time and memory.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leadbridge::error::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::types::PgLsn;

use super::world::{World, failed};

/// Interval of the readings of the child. Peak memory only grows, so the last reading equals the final value.
const POLL: Duration = Duration::from_millis(2);

/// Linux counts a process's time in hundredths of a second, at any tick rate of the kernel.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resources of a run.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub wall: Duration,
    /// User and system time, in seconds.
    pub cpu: f64,
    /// `VmHWM`: the peak of resident memory, in bytes.
    pub peak: u64,
    /// WAL of Traffic during the run, in bytes; counted in runs without another writer.
    pub wal: Option<u64>,
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    started: Instant,
}

impl Daemon {
    pub fn run(world: &World, arguments: &[&str]) -> Result<Self> {
        Self::command(world, &[&["run"], arguments].concat())
    }

    /// Any command of the binary, silent on stdout.
    pub fn command(world: &World, arguments: &[&str]) -> Result<Self> {
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_leadbridge"))
            .args(arguments)
            .env("LANDING_DATABASE_URL", world.landing_url())
            .env("TRAFFIC_DATABASE_URL", world.traffic_url())
            .env("LEADBRIDGE_STATE_DIR", world.state_dir())
            .env("LEADBRIDGE_HTTP_LISTEN", "off")
            .env("LEADBRIDGE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| Error::internal(format!("starting the daemon: {error}")))?;
        Ok(Daemon { child, started })
    }

    /// Time from start to end of `run --until-caught-up`.
    pub async fn catch_up(world: &World) -> Result<Spent> {
        let before = wal(world).await?;
        let spent = Daemon::run(world, &["--until-caught-up"])?.ended().await?;
        Ok(Spent { wal: Some(wal(world).await?.saturating_sub(before)), ..spent })
    }

    /// Returns once the server reports the daemon's stream, with the time since the start.
    pub async fn streaming(&self, world: &World) -> Result<Duration> {
        streaming(world, &world.names.slot).await?;
        Ok(self.started.elapsed())
    }

    /// Sends SIGTERM, and waits for the end.
    pub async fn stop(self) -> Result<Spent> {
        // The child is not waited for yet, so no other process has the pid; the cast is the inverse of std's own.
        let pid = Pid::from_raw(self.child.id() as i32);
        kill(pid, Signal::SIGTERM)
            .map_err(|error| Error::internal(format!("stopping the daemon: {error}")))?;
        self.ended().await
    }

    /// Waits for the end of the process.
    pub async fn ended(mut self) -> Result<Spent> {
        let mut peak = 0;
        while let Some(resident) = self.peak()? {
            peak = resident;
            tokio::time::sleep(POLL).await;
        }
        let (wall, cpu) = (self.started.elapsed(), self.cpu()?);
        let status = self.child.wait().map_err(|error| Error::internal(format!("the daemon: {error}")))?;
        if !status.success() {
            return Err(Error::internal(format!("the daemon ended with {status}")));
        }
        Ok(Spent { wall, cpu, peak, wal: None })
    }

    /// `None` after the end of the process, because an ended process has no memory.
    fn peak(&self) -> Result<Option<u64>> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kibibytes.map(|kibibytes| kibibytes * 1024))
    }

    fn cpu(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The program's name stands in parentheses and may hold any character; the third field follows the name.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / TICKS_PER_SECOND)
    }

    /// A child without a wait keeps its entry in /proc.
    fn read(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(&path).map_err(|error| Error::internal(format!("reading {path}: {error}")))
    }
}

/// Returns once the server reports a stream through the slot, with no WAL left to catch up with.
pub async fn streaming(world: &World, slot: &str) -> Result<()> {
    let landing = world.landing().await?;
    let sql = "SELECT FROM pg_stat_replication AS r JOIN pg_replication_slots AS s ON s.active_pid = r.pid \
               WHERE s.slot_name = $1 AND r.state = 'streaming'";
    let streaming = landing.prepare(sql).await.map_err(|error| failed(&error))?;
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let found = landing.query(&streaming, &[&slot]).await;
        if !found.map_err(|error| failed(&error))?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Error::internal(format!("{slot} did not come to streaming in ten minutes")))
}

/// End of Traffic's WAL.
async fn wal(world: &World) -> Result<u64> {
    let end = world.traffic().await?.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
    Ok(end.map_err(|error| failed(&error))?.get::<_, PgLsn>(0).into())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both calls fail only after a wait for the child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
