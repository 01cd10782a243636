//! After the switch, commands that would write Landing's old rows over Traffic's rows are refused; so is reverse
//! replication that would skip a change.

use super::exact::assert_back;
use super::switch::{TOLD, carried, switch};
use crate::testkit::{
    Bridge, World, assert_refused, ends_refused, holds, landing, one, released, traffic, until_holds,
};

async fn switched(world: &World, lines: &str) -> Bridge {
    world.fill(230, 20).await;
    let bridge = Bridge::new(world).configured(lines);
    bridge.catch_up().await;
    switch(world, &bridge).await;
    bridge
}

#[tokio::test(flavor = "multi_thread")]
async fn resync_repair_retry_and_verify_are_refused_and_change_nothing() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    traffic(&world, "UPDATE traffic_leads SET name = 'newer'").await;
    for arguments in
        [&["resync", "--yes"][..], &["verify", "--repair"], &["verify"], &["quarantine", "retry"]]
    {
        let said = bridge.run(arguments).await;
        assert_refused(&said, &["since the cutover"]);
    }
    let client = world.traffic().await;
    assert!(holds(&client, "bool_and(name = 'newer') FROM traffic_leads").await);
    assert!(holds(&client, "state = 'switched' FROM leadbridge.checkpoint").await);
    assert!(holds(&world.landing().await, "count(*) = 1 FROM pg_replication_slots").await);
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_on_traffic_stops_reverse_replication_unless_it_is_to_be_applied() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    let sql = "TRUNCATE traffic_lead_journey;
               INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 's', now() FROM traffic_leads";
    traffic(&world, sql).await;
    ends_refused(&mut daemon, &["TRUNCATE on Traffic of traffic_lead_journey", "on_truncate"]).await;
    assert!(holds(&world.landing().await, "count(*) > 20 FROM journey_stages").await);
    let bridge = bridge.configured("[stream]\non_truncate = \"apply\"");
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_cannot_serve_what_follows_is_refused() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    bridge.catch_up().await;
    released_on_traffic(&world).await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 3").await;
    let advance = "SELECT pg_replication_slot_advance('leadbridge_reverse', pg_current_wal_flush_lsn())";
    traffic(&world, advance).await;
    assert_refused(&bridge.run(&["run"]).await, &["leadbridge_reverse", "rollback"]);
    traffic(&world, "SELECT pg_drop_replication_slot('leadbridge_reverse')").await;
    assert_refused(&bridge.run(&["run"]).await, &["is gone from Traffic"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_has_changes_which_traffic_lacks_is_refused() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    traffic(&world, "UPDATE traffic_lead_journey SET id = gen_random_uuid()").await;
    bridge.catch_up().await;
    let on_landing = world.landing().await;
    let reached = "traffic_timeline = 1 AND carried_lsn > '0/1' FROM leadbridge.changed_keys";
    assert!(holds(&on_landing, reached).await);
    // As after a failover of Traffic to a standby that lacked the last changes.
    for lost in ["carried_lsn = 'F/1'", "carried_lsn = '0/1', traffic_timeline = 7"] {
        landing(&world, &format!("UPDATE leadbridge.changed_keys SET {lost}")).await;
        assert_refused(&bridge.run(&["run"]).await, &["positions contradict each other", "Landing has"]);
    }
    landing(&world, "UPDATE leadbridge.changed_keys SET traffic_timeline = 1").await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 3").await;
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
}

async fn released_on_traffic(world: &World) {
    until_holds(&world.traffic().await, "NOT bool_or(active) FROM pg_replication_slots").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_without_its_fence_is_not_written_to() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    let cutover: String =
        one(&world.traffic().await, "SELECT cutover_id::text FROM leadbridge.reverse").await;
    landing(&world, &format!("SELECT leadbridge.lift_fence('{cutover}')")).await;
    assert_refused(&bridge.run(&["run"]).await, &["fence", &cutover]);
    assert!(!TOLD.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_state_that_is_ahead_of_traffic_is_refused_after_the_switch_too() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    let before: String =
        one(&world.traffic().await, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    landing(
        &world,
        "INSERT INTO video_events (user_id, lesson_id, position_seconds) SELECT id, 1, 1 FROM users",
    )
    .await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 3").await;
    bridge.catch_up().await;
    released(&world).await;
    let restored = format!("UPDATE leadbridge.checkpoint SET applied_lsn = '{before}'");
    traffic(&world, &restored).await;
    assert_refused(&bridge.run(&["run"]).await, &["positions contradict", "restored from a backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_published_any_more_is_refused_also_in_mid_stream() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    traffic(&world, "ALTER PUBLICATION leadbridge_reverse DROP TABLE traffic_lead_journey").await;
    let words = ["leadbridge_reverse", "traffic_lead_journey", "ADD TABLE"];
    ends_refused(&mut daemon, &words).await;
    assert_refused(&bridge.run(&["run"]).await, &words);
    traffic(&world, "ALTER PUBLICATION leadbridge_reverse ADD TABLE traffic_lead_journey").await;
    assert_refused(&bridge.run(&["run"]).await, &["leadbridge_reverse", "published = NULL"]);
    traffic(&world, "UPDATE leadbridge.reverse SET published = NULL").await;
    bridge.catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_landing_whose_writers_would_pass_the_fence_is_refused_by_a_rollback_and_a_finish_too() {
    let world = World::new().await;
    let bridge = switched(&world, "").await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    landing(&world, "CREATE TABLE more_leads () INHERITS (landing_leads)").await;
    let words = ["landing_leads", "more_leads", "NO INHERIT"];
    ends_refused(&mut daemon, &words).await;
    assert_refused(&bridge.run(&["run"]).await, &words);
    assert_refused(&bridge.run(&["finish", "--yes"]).await, &words);
    let said = bridge.run(&["rollback", "--dry-run"]).await;
    assert!(said.code == 1 && said.out.contains("more_leads"), "{}{}", said.out, said.err);
    landing(&world, "ALTER TABLE more_leads NO INHERIT landing_leads").await;
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
}
