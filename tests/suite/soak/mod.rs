//! `make soak`: faults and restarts at random under live writers, for as long as `SOAK_FOR` says, and a comparison
//! of both sides after every few of them. The same `SOAK_SEED` draws the same faults.

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

/// After so many faults both sides are compared.
const FAULTS_PER_ROUND: u32 = 8;
/// How long the daemon may take to catch up once everything is healed.
const PATIENCE: Duration = Duration::from_secs(180);
/// What the daemon may have resident at the worst moment, in bytes. It is the unoptimised build that runs.
const MEMORY: u64 = 128 << 20;
/// Above so many leads half of them are deleted, so that a long run stays as quick as a short one.
const MOST_LEADS: i64 = 4000;

/// The whole scene: two servers, a proxy before each, the daemon between the proxies.
struct Soak {
    world: World,
    landing: Proxy,
    traffic: Proxy,
    bridge: Bridge,
    /// `None` while it is down.
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
        // Batches of a few changes, so that a fault meets every stage of many of them.
        let bridge = bridge.configured("[stream]\nbatch_rows = 50\ncheckpoint_interval = \"200ms\"");
        let rng = StdRng::seed_from_u64(seed);
        let tally = Tally::default();
        let mut soak = Soak { world, landing, traffic, bridge, daemon: None, writers: None, rng, tally };
        soak.up().await;
        soak
    }

    /// A few faults, then everything is healed and both sides must be equal.
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

    /// What systemd does: a daemon that ended because a database could not be reached is started again. Any other
    /// end is one that an operator would have to see to, and a failure here.
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

    /// Starts the daemon, whatever became of the last one.
    async fn up(&mut self) {
        self.daemon = None;
        // The lease of a daemon that is gone goes with its session, once its server knows that it is gone.
        self.landing.forget_half_open();
        self.traffic.forget_half_open();
        self.daemon = Some(self.bridge.daemon().await);
        self.tally.starts += 1;
    }

    /// The daemon is gone when this returns: after SIGTERM in good order, else at once.
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
        let mended = self.rng.random_ratio(1, 2);
        if mended {
            school::mends_bad_rows(&self.world).await;
        }
        self.catch_up().await;
        let found = differences_beside_quarantine(&self.world).await;
        let rows =
            "SELECT (SELECT count(*) FROM traffic_leads) + (SELECT count(*) FROM traffic_lead_journey)";
        self.tally.compared(one(&self.world.traffic().await, rows).await, found.len());
        assert!(found.is_empty(), "{}\n{:#?}", self.tally, &found[..found.len().min(10)]);
        school::assert_own_is_kept(&self.world).await;
        let empty = "NOT EXISTS (SELECT FROM leadbridge.quarantine)";
        assert!(!mended || holds(&self.world.traffic().await, empty).await, "rows stay in quarantine");
        assert!(self.tally.peak_memory <= MEMORY, "{} MiB resident", self.tally.peak_memory >> 20);
        // The local store belongs to the daemon while it runs.
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

    /// Everything that Landing has committed is applied. Faults may still end the daemon or its attempts.
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

/// The end of a log, for a person who has to find out.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
