//! The real binary as a child process, and the child's use of time and memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use leadbridge::error::{Error, Result};
use leadbridge::throwaway::DaemonProcess;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio_postgres::types::PgLsn;

use super::world::{World, failed};

/// Interval of the readings of the child. Peak memory only grows, so the last reading equals the final value.
const POLL: Duration = Duration::from_millis(2);

/// A process without memory has nothing left to do before its end.
const END: Duration = Duration::from_secs(10);

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
    process: DaemonProcess,
    started: Instant,
}

impl Daemon {
    pub fn run(world: &World, arguments: &[&str]) -> Result<Self> {
        Self::command(world, &[&["run"], arguments].concat())
    }

    /// Any command of the binary, silent on stdout.
    pub fn command(world: &World, arguments: &[&str]) -> Result<Self> {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadbridge"));
        command
            .args(arguments)
            .env("LANDING_DATABASE_URL", world.landing_url())
            .env("TRAFFIC_DATABASE_URL", world.traffic_url())
            .env("LEADBRIDGE_STATE_DIR", world.state_dir())
            .env("LEADBRIDGE_HTTP_LISTEN", "off")
            .env("LEADBRIDGE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(Daemon { process: DaemonProcess::start(command)?, started })
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
        self.process.signal(Signal::SIGTERM)?;
        self.ended().await
    }

    /// Waits for the end of the process.
    pub async fn ended(mut self) -> Result<Spent> {
        let mut peak = 0;
        // A process that has ended has no memory, and keeps its entry in /proc until the wait below.
        while let Some(resident) = self.process.peak_memory() {
            peak = resident;
            tokio::time::sleep(POLL).await;
        }
        let (wall, cpu) = (self.started.elapsed(), self.cpu()?);
        let status =
            self.process.end_within(END).await?.ok_or_else(|| Error::internal("the daemon does not end"))?;
        if !status.success() {
            return Err(Error::internal(format!("the daemon ended with {status}")));
        }
        Ok(Spent { wall, cpu, peak, wal: None })
    }

    fn cpu(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.process.id().unwrap_or_default());
        let stat = std::fs::read_to_string(&path)
            .map_err(|error| Error::internal(format!("reading {path}: {error}")))?;
        // The program's name stands in parentheses and may hold any character; the third field follows the name.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / TICKS_PER_SECOND)
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
