//! `make soak`: random faults and restarts under live writers, for the duration `SOAK_FOR`, and a comparison of both
//! sides after every few faults. The same `SOAK_SEED` draws the same faults.

mod faults;
mod school;
mod tally;

use std::time::{Duration, Instant};

use leadbridge::throwaway::writers::{LiveWriters, WriteRate};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::testkit::{
    Bridge, Daemon, Positions, Proxy, World, differences_beside_quarantine, holds, landing, one,
};
use faults::Fault;
use tally::Tally;

/// Number of faults between two comparisons.
const FAULTS_PER_ROUND: u32 = 8;
/// Time limit for catching up after all faults are healed.
const PATIENCE: Duration = Duration::from_secs(180);
/// Bound of the daemon's resident memory at the worst moment, in bytes. The running build is not optimised.
const MEMORY: u64 = 128 << 20;
/// Above this number of leads half of the leads are deleted, so that a long run stays as quick as a short run.
const MOST_LEADS: i64 = 4000;

/// All parts of a soak: two servers, a proxy before each server, the daemon between the proxies.
struct Soak {
    world: World,
    landing: Proxy,
    traffic: Proxy,
    bridge: Bridge,
    /// `None` while the daemon is down.
    daemon: Option<Daemon>,
    writers: Option<LiveWriters>,
    rng: StdRng,
    tally: Tally,
}

fn from_environment<T>(name: &str, parse: impl Fn(&str) -> Option<T>, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => parse(&text).unwrap_or_else(|| panic!("{name}={text} is not understood")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "lasts for SOAK_FOR: make soak"]
async fn random_faults_for_as_long_as_you_like_end_without_a_difference() {
    let duration = |text: &str| humantime::parse_duration(text).ok();
    let lasts = from_environment("SOAK_FOR", duration, Duration::from_secs(3600));
    let seed = from_environment("SOAK_SEED", |text| text.parse().ok(), rand::random::<u32>());
    eprintln!("soak: for {}, SOAK_SEED={seed}", humantime::format_duration(lasts));
    let mut soak = Soak::begin(u64::from(seed)).await;
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        soak.round().await;
    }
    soak.end().await;
}

impl Soak {
    async fn begin(seed: u64) -> Soak {
        let world = World::new().await;
        world.fill(seed, 500).await;
        school::prepare(&world).await;
        let landing = Proxy::to(world.landing.port()).await;
        let traffic = Proxy::to(world.traffic.port()).await;
        let bridge = Bridge::between(
            &landing.url(&world.landing_url(), world.landing.port()),
            &traffic.url(&world.traffic_url(), world.traffic.port()),
        );
        // Batches of a few changes, so that a fault meets every step of many batches.
        let bridge = bridge.configured("[stream]\nbatch_rows = 50\ncheckpoint_interval = \"200ms\"");
        let rng = StdRng::seed_from_u64(seed);
        let tally = Tally::default();
        let mut soak = Soak { world, landing, traffic, bridge, daemon: None, writers: None, rng, tally };
        soak.up().await;
        soak
    }

    /// A few faults, then all faults are healed and both sides must be equal.
    async fn round(&mut self) {
        let seed = self.rng.random();
        self.writers = Some(self.world.write(&WriteRate {
            seed,
            pause: Duration::from_millis(50),
            ..WriteRate::default()
        }));
        for _ in 0..FAULTS_PER_ROUND {
            let fault = Fault::draw(&mut self.rng);
            self.tally.meets(fault);
            self.inject(fault).await;
            school::works_on_traffic(self).await;
            self.supervise().await;
        }
        self.compare().await;
    }

    /// Acts as systemd: restarts a daemon that ended because a database was unreachable. Any other end would need an
    /// operator, and is a failure here.
    async fn supervise(&mut self) {
        let ended = match &mut self.daemon {
            Some(daemon) => daemon.exit_code(),
            None => return self.up().await,
        };
        match ended {
            None => {}
            Some(3) => self.up().await,
            Some(code) => {
                let log = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
                panic!("the daemon ended by itself, exit code {code}: {}", tail(&log));
            }
        }
    }

    /// Starts the daemon, after any end of the last daemon.
    async fn up(&mut self) {
        self.daemon = None;
        // The lease of a killed daemon ends with its session, once the server notices the end.
        self.landing.forget_half_open();
        self.traffic.forget_half_open();
        self.daemon = Some(self.bridge.daemon().await);
        self.tally.starts += 1;
    }

    /// The daemon is gone at the return: after SIGTERM in good order, otherwise at once.
    async fn down(&mut self, signal: Signal) {
        let Some(mut daemon) = self.daemon.take() else { return };
        self.tally.peak_memory = self.tally.peak_memory.max(daemon.peak_memory().unwrap_or(0));
        if signal == Signal::SIGTERM && daemon.exit_code().is_none() {
            daemon.terminate().await;
        } else {
            daemon.kill().await;
        }
    }

    async fn compare(&mut self) {
        self.landing.heal();
        self.traffic.heal();
        self.supervise().await;
        if let Some(writers) = self.writers.take() {
            let totals = writers.stop().await.unwrap();
            self.tally.transactions += totals.committed;
        }
        let repaired = self.rng.random_ratio(1, 2);
        if repaired {
            school::repairs_bad_rows(&self.world).await;
        }
        self.catch_up().await;
        let found = differences_beside_quarantine(&self.world).await;
        let rows =
            "SELECT (SELECT count(*) FROM traffic_leads) + (SELECT count(*) FROM traffic_lead_journey)";
        self.tally.compared(one(&self.world.traffic().await, rows).await, found.len());
        assert!(found.is_empty(), "{}\n{:#?}", self.tally, &found[..found.len().min(10)]);
        school::assert_own_is_kept(&self.world).await;
        let empty = "NOT EXISTS (SELECT FROM leadbridge.quarantine)";
        assert!(!repaired || holds(&self.world.traffic().await, empty).await, "rows stay in quarantine");
        assert!(self.tally.peak_memory <= MEMORY, "{} MiB resident", self.tally.peak_memory >> 20);
        // The running daemon owns the local store, so the store is damaged while the daemon is down.
        if self.rng.random_ratio(1, 2) {
            self.down(Signal::SIGTERM).await;
            Positions::read(&self.world, &self.bridge).await.assert_ordered();
            self.up().await;
        }
        let many = format!("count(*) > {MOST_LEADS} FROM landing_leads");
        if holds(&self.world.landing().await, &many).await {
            landing(
                &self.world,
                "DELETE FROM landing_leads WHERE id < '80000000-0000-0000-0000-000000000000'",
            )
            .await;
        }
    }

    /// Every commit of Landing is applied. Faults may still end the daemon or an attempt.
    async fn catch_up(&mut self) {
        let landing = self.world.landing().await;
        let goal: String = one(&landing, "SELECT pg_current_wal_insert_lsn()::text").await;
        let reached = format!(
            "count(*) = 1 FROM leadbridge.checkpoint WHERE state = 'streaming' AND applied_lsn >= '{goal}'"
        );
        let traffic = self.world.traffic().await;
        let deadline = Instant::now() + PATIENCE;
        while !holds(&traffic, &reached).await {
            self.supervise().await;
            let log = || self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "{}\ndoes not catch up with {goal}: {}",
                self.tally,
                tail(&log())
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(mut self) {
        self.down(Signal::SIGTERM).await;
        eprintln!("{}", self.tally);
        assert!(self.tally.comparisons() > 0, "SOAK_FOR is too short for one round");
    }
}

/// The end of a log, for a person in search of the cause.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
