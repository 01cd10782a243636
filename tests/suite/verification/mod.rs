//! Background verification beside the running daemon.

mod command;
mod cutover;
mod found;
mod killed;
mod repaired;
mod rests;

use leadbridge::throwaway::writers;
use serde_json::Value;

use crate::testkit::{Bridge, Daemon, World, landing, traffic};

/// The lead of most tests.
pub const LEAD: &str = "00000000-0000-4000-8000-000000000001";

/// Rounds follow each other at once, without rest.
pub const EAGER: &str = "[stream]\ncheckpoint_interval = \"200ms\"\n[verify]\nevery = \"1ms\"\nshare = 1.0\n";

/// The same, and rows that differ are repaired.
pub const REPAIRING: &str =
    "[stream]\ncheckpoint_interval = \"200ms\"\n[verify]\nevery = \"1ms\"\nshare = 1.0\nrepair = true\n";

/// A world with leads, one of them [`LEAD`] with one journey entry of the same id, a daemon that streams, and an
/// installation with `settings`.
pub async fn streaming(settings: &str, count: usize) -> (World, Bridge, Daemon) {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured(settings);
    let daemon = stream(&world, &bridge, count).await;
    (world, bridge, daemon)
}

/// Fills the world, and starts the daemon of `bridge`.
pub async fn stream(world: &World, bridge: &Bridge, count: usize) -> Daemon {
    world.fill(41, count).await;
    let journey = world.names.landing_table(leadbridge::model::change::Table::LeadJourney);
    let one = format!(
        "INSERT INTO landing_leads (id, name, phone, email) VALUES ('{LEAD}', 'Айгерим-ЖОҚ', '+7701', 'a@b.kz'); \
         INSERT INTO {journey} (id, lead_id, stage) VALUES ('{LEAD}', '{LEAD}', 'lesson')"
    );
    landing(world, &one).await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    daemon.caught_up(world).await;
    daemon
}

/// Changes Traffic behind the back of all triggers.
pub async fn tamper(world: &World, sql: &str) {
    traffic(world, &format!("SET session_replication_role = replica; {sql}")).await;
}

/// Number of the last round that has ended; 0 before.
pub fn ended_rounds(status: &Value) -> u64 {
    status["verification"]["last"]["number"].as_u64().unwrap_or(0)
}

/// Waits for the end of a round that has begun after this call. A daemon that has just started says nothing of rounds until it
/// has read the record of earlier ones.
pub async fn a_round(daemon: &mut Daemon) -> Value {
    let last_begun = |status: &Value| {
        let in_hand = status["verification"]["round"]["number"].as_u64();
        in_hand.unwrap_or(0).max(ended_rounds(status))
    };
    let begun = last_begun(&daemon.until("rounds are known", |status| last_begun(status) > 0).await);
    daemon.until("a round ends", |status| ended_rounds(status) > begun).await
}

/// The counts of a table's differing rows: missing, extra, different.
pub fn counts(status: &Value, table: &str) -> [u64; 3] {
    let tables = status["verification"]["differing"].as_array();
    let found = tables.into_iter().flatten().find(|of| of["table"] == table);
    ["missing", "extra", "different"].map(|kind| found.and_then(|of| of[kind].as_u64()).unwrap_or(0))
}

/// Writers that leave a debug build of the daemon time to follow.
pub fn gentle() -> writers::WriteRate {
    writers::WriteRate { pause: std::time::Duration::from_millis(10), ..writers::WriteRate::default() }
}

/// A count of leads that makes more than one range.
pub const MANY: usize = 12_000;
