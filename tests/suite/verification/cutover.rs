//! A repair and a cutover at the same moment.

use std::process::Stdio;
use std::time::Duration;

use leadbridge::failpoint::Point;
use nix::sys::signal::Signal;

use super::{REPAIRING, tamper};
use crate::cutover::{CutoverSetup, PATIENT, go_on, standing_at};
use crate::testkit::{Bridge, Daemon, World, holds, one, until_holds, until_true};

const FLIP: &str = "UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)";
const FLIPPED: &str =
    "SELECT sms_sent FROM traffic_leads WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)";

async fn setup() -> CutoverSetup {
    let world = World::new().await;
    let bridge = Bridge::new(&world).configured(REPAIRING);
    CutoverSetup::between(world, bridge).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_repaired_while_a_cutover_is_under_way_and_after_its_abort_it_is() {
    let mut setup = setup().await;
    let client = setup.world.traffic().await;
    let right: bool = one(&client, FLIPPED).await;
    let command = standing_at(&setup.bridge, &setup.arguments(&PATIENT), Point::CutoverBegun).await;
    tamper(&setup.world, FLIP).await;
    let refused = |status: &serde_json::Value| {
        let why = status["verification"]["last"]["not_repaired"].as_str();
        why.is_some_and(|why| why.contains("a cutover or a rollback is under way"))
    };
    setup.daemon.until("the repair is refused", refused).await;
    assert_ne!(one::<bool>(&client, FLIPPED).await, right);
    let (said, code) = go_on(command).await;
    assert!(code == 4 && said.contains("landing_leads differs under the fence"), "{said}");
    setup.settled().await;
    until_true("the row is repaired", async || one::<bool>(&client, FLIPPED).await == right).await;
    setup.switches(&[]).await;
    setup.assert_switched().await;
}

/// A daemon that stands still in the transaction of a repair, which has written and has not committed.
async fn in_a_repair(setup: &mut CutoverSetup) -> Daemon {
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(Duration::from_secs(20)).await;
    tamper(&setup.world, FLIP).await;
    let stops = format!("{}:1:stop", Point::RepairWritten.name());
    let daemon = setup.bridge.daemon_with(&[("LEADBRIDGE_FAILPOINT", &stops)]).await;
    let stands = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'leadbridge %' \
                  AND state = 'idle in transaction' AND backend_xid IS NOT NULL AND state_change < clock_timestamp() - interval '1 s')";
    until_holds(&setup.world.traffic().await, stands).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_waits_for_the_repair_that_is_being_written() {
    let mut setup = setup().await;
    let client = setup.world.traffic().await;
    let right: bool = one(&client, FLIPPED).await;
    setup.daemon = in_a_repair(&mut setup).await;
    let mut command = setup.bridge.command(&setup.arguments(&PATIENT));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'leadbridge cutover' \
                 AND wait_event_type = 'Lock')";
    until_holds(&client, waits).await;
    assert!(holds(&client, "bool_and(state = 'streaming') FROM leadbridge.checkpoint").await);
    setup.daemon.signal(Signal::SIGCONT);
    let (said, code) = go_on(command).await;
    assert_eq!(code, 0, "{said}");
    setup.assert_switched().await;
    assert_eq!(one::<bool>(&client, FLIPPED).await, right);
}
