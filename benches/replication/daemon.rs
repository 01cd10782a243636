//! The real binary as a child process, and what it took.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leadbridge::error::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::types::PgLsn;

use super::world::{World, failed};

/// How often the child is looked at. Its peak memory only grows, so the last look is as good as the end.
const POLL: Duration = Duration::from_millis(2);

/// Linux counts a process's time in hundredths of a second, whatever the kernel's own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub wall: Duration,
    /// User and system time, in seconds.
    pub cpu: f64,
    /// `VmHWM`: the most memory it ever had resident, in bytes.
    pub peak: u64,
    /// What Traffic wrote to its WAL meanwhile, in bytes; counted where a run has nobody beside it.
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

    /// From start to end of `run --until-caught-up`.
    pub async fn catch_up(world: &World) -> Result<Spent> {
        let before = wal(world).await?;
        let spent = Daemon::run(world, &["--until-caught-up"])?.ended().await?;
        Ok(Spent { wal: Some(wal(world).await?.saturating_sub(before)), ..spent })
    }

    /// Returns once the server says that it streams, with the time since the start.
    pub async fn streaming(&self, world: &World) -> Result<Duration> {
        streaming(world, &world.names.slot).await?;
        Ok(self.started.elapsed())
    }

    /// Tells it to stop, and waits.
    pub async fn stop(self) -> Result<Spent> {
        // The child is not waited for yet, so its pid is nobody else's; the cast is the inverse of std's own.
        let pid = Pid::from_raw(self.child.id() as i32);
        kill(pid, Signal::SIGTERM)
            .map_err(|error| Error::internal(format!("stopping the daemon: {error}")))?;
        self.ended().await
    }

    /// Waits for its end.
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

    /// `None` when it has ended: what is left of it has no memory.
    fn peak(&self) -> Result<Option<u64>> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kibibytes.map(|kibibytes| kibibytes * 1024))
    }

    fn cpu(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The program's name stands in parentheses and may hold anything; the third field follows it.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / TICKS_PER_SECOND)
    }

    /// A child that was not waited for keeps its entry.
    fn read(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(&path).map_err(|error| Error::internal(format!("reading {path}: {error}")))
    }
}

/// Returns once the server says that it streams through this slot, and has nothing more to catch up with.
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

/// Where Traffic's WAL ends.
async fn wal(world: &World) -> Result<u64> {
    let end = world.traffic().await?.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
    Ok(end.map_err(|error| failed(&error))?.get::<_, PgLsn>(0).into())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
