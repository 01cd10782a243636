//! Landing's own slot is lost after the switch: the daemon makes a new one, because Landing is fenced.

use leadbridge::failpoint::Point;
use nix::sys::signal::Signal;

use crate::cutover::CutoverSetup;
use crate::replication::reverse::switch::{carried, switch};
use crate::testkit::{
    Bridge, Positions, World, assert_refused, holds, landing, one, traffic, until_holds, until_true,
};

const DROP: &str = "SELECT pg_drop_replication_slot('leadbridge')";
const RELEASED: &str = "NOT bool_or(active) FROM pg_replication_slots";
const MADE: &str = "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'leadbridge' AND plugin = 'pgoutput' \
                    AND wal_status <> 'lost')";
const RECORDED: &str = "new_slot_since IS NULL FROM leadbridge.reverse";

impl CutoverSetup {
    async fn assert_goes_back(&mut self) {
        until_holds(&self.world.landing().await, MADE).await;
        until_holds(&self.world.traffic().await, RECORDED).await;
        traffic(&self.world, "UPDATE traffic_leads SET click_count = 77").await;
        carried(&self.world, &mut self.daemon).await;
        let before = "SELECT snapshot_time::text FROM leadbridge.checkpoint";
        let snapshot: Option<String> = one(&self.world.traffic().await, before).await;
        self.rolls_back(&[]).await;
        assert!(holds(&self.world.landing().await, "bool_and(click_count = 77) FROM landing_leads").await);
        self.assert_rolled_back().await;
        let after: Option<String> = one(&self.world.traffic().await, before).await;
        assert_eq!(snapshot, after, "a new snapshot was taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_after_the_switch_is_made_again_and_a_rollback_goes_through() {
    let mut setup = CutoverSetup::switched().await;
    landing(&setup.world, DROP).await;
    traffic(&setup.world, "UPDATE traffic_leads SET click_count = 76").await;
    setup.daemon.logs("a new slot `leadbridge` on Landing").await;
    setup
        .daemon
        .until("status shows the new slot", |status| {
            status["slot"]["name"] == "leadbridge" && status["reverse"]["new_slot_made_at"].is_string()
        })
        .await;
    let said = setup.bridge.run(&["status"]).await;
    assert!(said.out.contains("made again"), "{}", said.out);
    setup.assert_goes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_while_no_daemon_ran_is_made_again_at_the_next_start() {
    let mut setup = CutoverSetup::switched().await;
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(std::time::Duration::from_secs(20)).await;
    landing(&setup.world, DROP).await;
    setup.daemon = setup.bridge.daemon().await;
    setup.assert_goes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_lost_its_wal_after_the_switch_is_made_again() {
    let settings = [("max_slot_wal_keep_size", "16MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")];
    let world = World::with_settings(&settings, &[]).await;
    let bridge = Bridge::new(&world);
    let mut setup = CutoverSetup::between(world, bridge).await;
    setup.switches(&[]).await;
    setup.flows_back().await;
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(std::time::Duration::from_secs(20)).await;
    let client = setup.world.landing().await;
    until_true("the slot is lost", async || {
        client.batch_execute("SELECT pg_switch_wal(); CREATE TABLE w(); DROP TABLE w").await.unwrap();
        client.batch_execute("CHECKPOINT").await.unwrap();
        holds(&client, "wal_status = 'lost' FROM pg_replication_slots").await
    })
    .await;
    setup.daemon = setup.bridge.daemon().await;
    setup.assert_goes_back().await;
}

/// At each point the slot is gone, and the next start must neither refuse the slot nor skip a change.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_of_making_the_slot_the_next_start_ends_with_a_slot_and_exact() {
    let world = World::new().await;
    world.fill(260, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    bridge.catch_up().await;
    let (on_landing, on_traffic) = (world.landing().await, world.traffic().await);
    let points = || Point::ALL.iter().filter(|point| point.name().starts_with("new_slot.")).copied();
    assert!(points().count() >= 3);
    for (round, point) in points().enumerate() {
        until_holds(
            &on_landing,
            &format!("coalesce({})", "(SELECT NOT bool_or(active) FROM pg_replication_slots), true"),
        )
        .await;
        on_landing.batch_execute(DROP).await.unwrap();
        let mut dying = bridge.dying_command(&["run"], point, 1).spawn().unwrap();
        let status =
            tokio::time::timeout(std::time::Duration::from_secs(60), dying.wait()).await.unwrap().unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(status.signal(), Some(9), "{} is not passed", point.name());
        until_holds(&on_traffic, RELEASED).await;
        traffic(&world, &format!("UPDATE traffic_leads SET click_count = {round}")).await;
        let mut daemon = bridge.daemon().await;
        carried(&world, &mut daemon).await;
        until_holds(&on_landing, MADE).await;
        until_holds(&on_traffic, RECORDED).await;
        daemon.terminate().await;
        until_holds(&on_landing, RELEASED).await;
        Positions::read(&world, &bridge).await.assert_ordered();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_that_name_that_is_not_ours_is_never_dropped() {
    let mut setup = CutoverSetup::switched().await;
    let foreign = format!("{DROP}; SELECT pg_create_logical_replication_slot('leadbridge', 'test_decoding')");
    landing(&setup.world, &foreign).await;
    traffic(&setup.world, "UPDATE traffic_leads SET click_count = 5").await;
    carried(&setup.world, &mut setup.daemon).await;
    setup.daemon.logs("is not leadbridge's").await;
    let there = "count(*) = 1 FROM pg_replication_slots WHERE plugin = 'test_decoding'";
    assert!(holds(&setup.world.landing().await, there).await);
    let said = setup.rollback(&["--dry-run"]).await;
    assert!(said.code == 1 && said.out.contains("forward_slot"), "{}{}", said.out, said.err);
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(std::time::Duration::from_secs(20)).await;
    assert_refused(&setup.bridge.run(&["run"]).await, &["not leadbridge's"]);
    assert!(holds(&setup.world.landing().await, there).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_no_slot_is_made() {
    let mut setup = CutoverSetup::switched().await;
    let cutover: String =
        one(&setup.world.traffic().await, "SELECT cutover_id::text FROM leadbridge.reverse").await;
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(std::time::Duration::from_secs(20)).await;
    landing(&setup.world, &format!("{DROP}; SELECT leadbridge.lift_fence('{cutover}')")).await;
    assert_refused(&setup.bridge.run(&["run"]).await, &["fence", &cutover]);
    assert!(holds(&setup.world.landing().await, "count(*) = 0 FROM pg_replication_slots").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_refused_while_the_slot_is_being_made() {
    let mut setup = CutoverSetup::switched().await;
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(std::time::Duration::from_secs(20)).await;
    landing(&setup.world, DROP).await;
    let stopping = setup.bridge.stopping_command(&["run"], Point::NewSlotCreated).spawn().unwrap();
    let client = setup.world.traffic().await;
    until_holds(&client, "new_slot_since IS NOT NULL FROM leadbridge.reverse").await;
    until_holds(&setup.world.landing().await, MADE).await;
    let said = setup.rollback(&["--dry-run"]).await;
    assert!(said.code == 1 && said.out.contains("is being made again"), "{}{}", said.out, said.err);
    drop(stopping);
    until_holds(&client, RELEASED).await;
    setup.daemon = setup.bridge.daemon().await;
    setup.assert_goes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_slot_survives_a_failover_where_the_configuration_says_so() {
    let world = World::new().await;
    let client = world.landing().await;
    if holds(&client, "current_setting('server_version_num')::int < 170000").await {
        return;
    }
    let bridge = Bridge::new(&world).configured("[snapshot]\nslot_failover = true");
    let mut setup = CutoverSetup::between(world, bridge).await;
    setup.switches(&[]).await;
    setup.flows_back().await;
    landing(&setup.world, DROP).await;
    traffic(&setup.world, "UPDATE traffic_leads SET click_count = 76").await;
    let survives =
        "coalesce(bool_or(failover), false) FROM pg_replication_slots WHERE slot_name = 'leadbridge'";
    until_holds(&client, survives).await;
    setup.assert_goes_back().await;
}
