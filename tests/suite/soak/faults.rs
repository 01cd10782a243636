//! The faults of a soak, and the injection of each fault.

use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::Shutdown;
use nix::sys::signal::Signal;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::process::Command;
use tokio_postgres::Client;

use super::Soak;
use crate::testkit::Fault as Wire;
use crate::testkit::{Daemon, Direction, Proxy, Target, World, tried_for_a_minute};

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Cuts one kind of connection, or all connections, on one side or both.
    Cut,
    HalfOpen,
    OneWay,
    Delay,
    Throttle,
    Stall,
    Refuse,
    CutAfterCommit,
    KillDaemon,
    KillAtPoint,
    StopDaemon,
    FreezeDaemon,
    LoseStateDirectory,
    Resync,
    RestartLanding,
    RestartTraffic,
    TerminateBackends,
    ReadOnlyTraffic,
    LockRowsOnTraffic,
    LongTransactionOnLanding,
    LargeTransaction,
    OldTransactionOnLanding,
    LargeRowsWhileHeldUp,
    HalfOpenInALargeRow,
    LargeRowOnASlowLine,
    SynchronousStandby,
}

/// A fault that is listed twice is drawn twice as often.
const ALL: [Fault; 27] = [
    Fault::Cut,
    Fault::HalfOpen,
    Fault::OneWay,
    Fault::Delay,
    Fault::Throttle,
    Fault::Stall,
    Fault::Refuse,
    Fault::CutAfterCommit,
    Fault::KillDaemon,
    Fault::KillAtPoint,
    Fault::KillAtPoint,
    Fault::StopDaemon,
    Fault::FreezeDaemon,
    Fault::LoseStateDirectory,
    Fault::Resync,
    Fault::RestartLanding,
    Fault::RestartTraffic,
    Fault::TerminateBackends,
    Fault::ReadOnlyTraffic,
    Fault::LockRowsOnTraffic,
    Fault::LongTransactionOnLanding,
    Fault::LargeTransaction,
    Fault::OldTransactionOnLanding,
    Fault::LargeRowsWhileHeldUp,
    Fault::HalfOpenInALargeRow,
    Fault::LargeRowOnASlowLine,
    Fault::SynchronousStandby,
];

const CONNECTIONS: [Target; 7] = [
    Target::Every,
    Target::Named("apply"),
    Target::Named("apply"),
    Target::Named("control"),
    Target::Named("monitor"),
    Target::Named("snapshot"),
    Target::Named("stream"),
];

impl Fault {
    pub fn draw(rng: &mut StdRng) -> Fault {
        ALL[rng.random_range(0..ALL.len())]
    }

    pub fn name(self) -> &'static str {
        match self {
            Fault::Cut => "connections cut",
            Fault::HalfOpen => "connections that carry nothing any more",
            Fault::OneWay => "connections that carry one way only",
            Fault::Delay => "connections delayed",
            Fault::Throttle => "connections throttled",
            Fault::Stall => "connections stalled for a while",
            Fault::Refuse => "connections refused for a while",
            Fault::CutAfterCommit => "COMMIT executed, the answer cut off",
            Fault::KillDaemon => "daemon killed",
            Fault::KillAtPoint => "daemon killed at a named point",
            Fault::StopDaemon => "daemon stopped and started",
            Fault::FreezeDaemon => "daemon frozen for a while",
            Fault::LoseStateDirectory => "daemon killed, state directory lost",
            Fault::Resync => "resync",
            Fault::RestartLanding => "Landing restarted or crashed",
            Fault::RestartTraffic => "Traffic restarted or crashed",
            Fault::TerminateBackends => "backends terminated",
            Fault::ReadOnlyTraffic => "Traffic read-only for a while",
            Fault::LockRowsOnTraffic => "rows locked on Traffic",
            Fault::LongTransactionOnLanding => "a long transaction on Landing",
            Fault::LargeTransaction => "a transaction of many batches",
            Fault::OldTransactionOnLanding => "old WAL decoded again while the stream is slow",
            Fault::LargeRowsWhileHeldUp => "many large rows while Traffic is locked",
            Fault::HalfOpenInALargeRow => "all connections half-open while a large row arrives",
            Fault::LargeRowOnASlowLine => "a large row on a line slower than wal_sender_timeout",
            Fault::SynchronousStandby => "the stream made a synchronous standby",
        }
    }
}

/// The command's output does not belong into a soak's report.
fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A moment of two seconds at most.
fn moment(rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(0..2000))
}

fn shutdown(rng: &mut StdRng) -> Shutdown {
    [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill].choose(rng).copied().unwrap_or(Shutdown::Kill)
}

impl Soak {
    /// Injects the fault, and returns after the fault's duration. Lasting faults of the network are then healed.
    pub async fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::KillDaemon => self.down(Signal::SIGKILL).await,
            Fault::KillAtPoint => self.kill_at_a_point().await,
            Fault::StopDaemon => self.down(Signal::SIGTERM).await,
            Fault::FreezeDaemon => self.freeze().await,
            Fault::LoseStateDirectory => {
                self.down(Signal::SIGKILL).await;
                // The directory may not exist yet.
                let _ = std::fs::remove_dir_all(self.bridge.state_dir());
            }
            Fault::Resync => self.resync().await,
            Fault::RestartLanding => self.world.landing.restart(shutdown(&mut self.rng)).await.unwrap(),
            Fault::RestartTraffic => self.world.traffic.restart(shutdown(&mut self.rng)).await.unwrap(),
            Fault::TerminateBackends => terminate_backends(&self.world).await,
            Fault::ReadOnlyTraffic => self.read_only().await,
            Fault::LockRowsOnTraffic => {
                let lock = "SELECT FROM traffic_leads ORDER BY random() LIMIT 50 FOR UPDATE";
                hold(&self.world.traffic().await, lock, moment(&mut self.rng)).await;
            }
            Fault::LongTransactionOnLanding => {
                let open = "UPDATE courses SET id = id";
                hold(&self.world.landing().await, open, moment(&mut self.rng)).await;
            }
            Fault::LargeTransaction => large_transaction(&self.world).await,
            Fault::OldTransactionOnLanding => self.decodes_old_wal().await,
            Fault::LargeRowsWhileHeldUp => {
                let lasts = moment(&mut self.rng);
                large_rows(&self.world, lasts).await;
            }
            Fault::HalfOpenInALargeRow => self.half_open_in_a_large_row().await,
            Fault::LargeRowOnASlowLine => self.large_row_on_a_slow_line().await,
            Fault::SynchronousStandby => self.synchronous_standby().await,
            wire => self.on_the_wire(wire).await,
        }
        self.landing.heal();
        self.traffic.heal();
    }

    async fn on_the_wire(&mut self, fault: Fault) {
        let target = CONNECTIONS[self.rng.random_range(0..CONNECTIONS.len())];
        let fault = match fault {
            Fault::HalfOpen => Wire::HalfOpen,
            Fault::OneWay if self.rng.random() => Wire::OneWay(Direction::ToServer),
            Fault::OneWay => Wire::OneWay(Direction::ToClient),
            Fault::Delay => Wire::Delay(Duration::from_millis(self.rng.random_range(1..300))),
            Fault::Throttle => Wire::Throttle(self.rng.random_range(2_000..200_000)),
            Fault::Stall => Wire::Stall,
            Fault::Refuse => Wire::Refuse,
            Fault::CutAfterCommit => Wire::CutAfterCommit,
            _ => Wire::Cut,
        };
        let sides: &[&Proxy] = match (fault, self.rng.random_range(0..3)) {
            (Wire::CutAfterCommit, _) | (_, 0) => &[&self.traffic],
            (_, 1) => &[&self.landing],
            _ => &[&self.landing, &self.traffic],
        };
        for side in sides {
            if fault == Wire::Refuse {
                // A cut makes connected clients notice that the server is unreachable.
                side.inject(target, Wire::Cut);
            }
            side.inject(target, fault);
        }
        tokio::time::sleep(moment(&mut self.rng)).await;
    }

    /// An old transaction keeps the slot's WAL back. After the cut the server decodes all of the WAL again, and asks
    /// for answers meanwhile with old positions.
    async fn decodes_old_wal(&mut self) {
        let old = self.world.landing().await;
        old.batch_execute("ALTER SYSTEM SET wal_sender_timeout = '1500ms'").await.unwrap();
        let open = "SELECT pg_reload_conf(); BEGIN; SELECT pg_current_xact_id()";
        old.batch_execute(open).await.unwrap();
        let noise = "CREATE TABLE IF NOT EXISTS soak_noise (n bigint); TRUNCATE soak_noise;
            INSERT INTO soak_noise SELECT * FROM generate_series(1, 500000)";
        self.world.landing().await.batch_execute(noise).await.unwrap();
        self.landing.inject(Target::Named("stream"), Wire::Cut);
        // Later the stream may have reached WAL that the server has decoded already: then the delay meets an ordinary
        // stream.
        tokio::time::sleep(moment(&mut self.rng)).await;
        self.landing.inject(Target::Named("stream"), Wire::Delay(Duration::from_secs(1)));
        tokio::time::sleep(Duration::from_secs(3) + moment(&mut self.rng)).await;
        old.batch_execute("ROLLBACK").await.unwrap();
        old.batch_execute("ALTER SYSTEM RESET wal_sender_timeout").await.unwrap();
        old.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// Both connections become half-open while a message has arrived in part and apply may wait for an answer.
    async fn half_open_in_a_large_row(&mut self) {
        self.landing.inject(Target::Named("stream"), Wire::Throttle(1_000_000));
        large_row(&self.world).await;
        tokio::time::sleep(moment(&mut self.rng)).await;
        for side in [&self.landing, &self.traffic] {
            side.inject(Target::Every, Wire::HalfOpen);
        }
        tokio::time::sleep(moment(&mut self.rng)).await;
    }

    async fn large_row_on_a_slow_line(&mut self) {
        let settings = self.world.landing().await;
        settings.batch_execute("ALTER SYSTEM SET wal_sender_timeout = '2s'").await.unwrap();
        settings.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        self.landing.inject(Target::Named("stream"), Wire::Throttle(1_000_000));
        large_row(&self.world).await;
        tokio::time::sleep(Duration::from_secs(5) + moment(&mut self.rng)).await;
        settings.batch_execute("ALTER SYSTEM RESET wal_sender_timeout").await.unwrap();
        settings.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// The daemon ends rather than let every commit of Landing wait. Only the writers commit meanwhile, and resetting
    /// the list releases their commits.
    async fn synchronous_standby(&mut self) {
        // A daemon without a stream is not a standby. While a daemon creates its slot, Landing waits for no
        // leadbridge standby.
        let Some(daemon) = &self.daemon else { return };
        if daemon.asked().await.is_none_or(|status| status["state"] != "streaming") {
            return;
        }
        // The changes of this session wait for no standby.
        let settings = self.world.landing().await;
        settings.batch_execute("SET synchronous_commit = local").await.unwrap();
        settings.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
        settings.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let ended = tried_for_a_minute(async || self.daemon.as_mut().and_then(Daemon::exit_code)).await;
        settings.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        settings.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let log = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        // A database that is unreachable at the same moment ends the daemon, too.
        assert!(
            ended.is_some_and(|code| [3, 4].contains(&code)),
            "exit code {ended:?}: {}",
            super::tail(&log)
        );
        self.daemon = None;
    }

    async fn freeze(&mut self) {
        let lasts = moment(&mut self.rng);
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::SIGSTOP);
            tokio::time::sleep(lasts).await;
            daemon.signal(Signal::SIGCONT);
        }
    }

    /// The daemon dies at the point, or a little later anywhere: not every run passes every point.
    async fn kill_at_a_point(&mut self) {
        self.down(Signal::SIGTERM).await;
        let point = Point::ALL[self.rng.random_range(0..Point::ALL.len())];
        let arguments: &[&str] = match point.name().starts_with("snapshot.") {
            true => &["resync", "--yes"],
            false => &["run"],
        };
        let pass = self.rng.random_range(1..10);
        let mut running = quiet(self.bridge.dying_command(arguments, point, pass)).spawn().unwrap();
        let lasts = Duration::from_secs(2) + moment(&mut self.rng);
        if tokio::time::timeout(lasts, running.wait()).await.is_err() {
            running.kill().await.unwrap();
        }
    }

    /// A resync that is killed midway leaves a state that the next start must repair.
    async fn resync(&mut self) {
        self.down(Signal::SIGTERM).await;
        if self.rng.random_ratio(1, 3) {
            let mut running = quiet(self.bridge.command(&["resync", "--yes"])).spawn().unwrap();
            tokio::time::sleep(moment(&mut self.rng) / 4).await;
            running.kill().await.unwrap();
            return;
        }
        // A session that an earlier fault left half-open holds the lease until its server notices.
        terminate_backends(&self.world).await;
        let said = self.bridge.run(&["resync", "--yes"]).await;
        assert_eq!(said.code, 0, "{}", said.err);
    }

    async fn read_only(&mut self) {
        let client = self.world.traffic().await;
        client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        tokio::time::sleep(moment(&mut self.rng)).await;
        client.batch_execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }
}

/// A transaction that runs `sql` and then idles for a while. PostgreSQL may end the transaction to end a deadlock.
async fn hold(client: &Client, sql: &str, lasts: Duration) {
    if client.batch_execute(&format!("BEGIN; {sql}")).await.is_ok() {
        tokio::time::sleep(lasts).await;
    }
    client.batch_execute("ROLLBACK").await.unwrap();
}

async fn terminate_backends(world: &World) {
    let sql =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'leadbridge %'";
    for client in [world.landing().await, world.traffic().await] {
        client.batch_execute(sql).await.unwrap();
    }
}

/// Twenty megabytes in fifty rows, deleted afterwards, so that a long run stays as quick as a short run.
async fn large_rows(world: &World, lasts: Duration) {
    let insert = "INSERT INTO landing_leads (name, phone, metadata)
        SELECT 'large', n::text, jsonb_build_object('answers', repeat(md5(n::text), 12800)) FROM generate_series(1, 50) AS n";
    let delete = "UPDATE landing_leads SET click_count = 1 WHERE name = 'large'; DELETE FROM landing_leads WHERE name = 'large'";
    let landing = world.landing().await;
    // A deadlock with a writer ends either session; the test accepts both outcomes.
    let _ = landing.batch_execute(insert).await;
    let lock = "SET LOCAL lock_timeout = '1s'; LOCK TABLE traffic_leads IN SHARE ROW EXCLUSIVE MODE";
    hold(&world.traffic().await, lock, lasts).await;
    let _ = landing.batch_execute(delete).await;
}

/// Six megabytes in one row, deleted afterwards.
async fn large_row(world: &World) {
    let sql = "INSERT INTO landing_leads (name, phone, metadata) SELECT 'one large', '1', jsonb_build_object('answers',
            (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 190000) AS n));
        DELETE FROM landing_leads WHERE name = 'one large'";
    // A deadlock with a writer ends either session; the test accepts both outcomes.
    let _ = world.landing().await.batch_execute(sql).await;
}

/// Far more changes than a batch takes, partly without metadata.
async fn large_transaction(world: &World) {
    let sql = "BEGIN;
         INSERT INTO landing_leads (name, phone, source, metadata)
             SELECT 'many', n::text, 'challenge3d', jsonb_build_object('utm_source', n, 'answers', repeat('answer', n % 900))
             FROM generate_series(1, 300) AS n;
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads WHERE name = 'many';
         UPDATE landing_leads SET email_sent = true WHERE name = 'many';
         UPDATE landing_leads SET name = 'done' WHERE name = 'many'; COMMIT";
    // A deadlock with a writer ends either session; the test accepts both outcomes.
    let _ = world.landing().await.batch_execute(sql).await;
}
