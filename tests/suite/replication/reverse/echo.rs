//! No change comes back as an echo, and only reverse replication writes to Landing.

use super::exact::assert_back;
use super::switch::{TOLD, carried, switch};
use crate::testkit::{Bridge, Positions, World, holds, one, traffic, until_holds};

/// The versions of all rows that forward replication writes.
const VERSIONS: &str = "SELECT coalesce(string_agg(v, ',' ORDER BY v), '') FROM (
    SELECT id::text || xmin FROM traffic_leads UNION ALL SELECT id::text || xmin FROM traffic_lead_journey) AS t (v)";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_streams_from_landing_again_sees_nothing_of_ours() {
    let world = World::new().await;
    world.fill(210, 40).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let cutover = switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    traffic(
        &world,
        "UPDATE traffic_leads SET click_count = 5; INSERT INTO traffic_leads (name, phone, landing_source, utm_source) VALUES ('b', '1', 'twland', 'u');
         DELETE FROM traffic_leads WHERE left(id::text, 1) = '1'",
    )
    .await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    let landing = world.landing().await;
    // Landing's own slot follows the WAL, even without any change.
    let flushed: String = one(&landing, "SELECT pg_current_wal_flush_lsn()::text").await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 6 WHERE left(id::text, 1) = '2'").await;
    carried(&world, &mut daemon).await;
    until_holds(&landing, &format!("confirmed_flush_lsn >= '{flushed}' FROM pg_replication_slots")).await;
    daemon.terminate().await;
    Positions::read(&world, &bridge).await.assert_ordered();

    // A rollback: first the state, then the fence.
    let client = world.traffic().await;
    let versions: String = one(&client, VERSIONS).await;
    traffic(&world, "UPDATE leadbridge.checkpoint SET state = 'streaming'").await;
    landing.batch_execute(&format!("SELECT leadbridge.lift_fence('{cutover}')")).await.unwrap();
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    assert_eq!(one::<String>(&client, VERSIONS).await, versions, "a row came back as an echo");
    landing
        .batch_execute("UPDATE landing_leads SET name = 'after' WHERE left(id::text, 1) = '2'")
        .await
        .unwrap();
    daemon.caught_up(&world).await;
    assert!(
        holds(&client, "bool_and(name = 'after') FROM traffic_leads WHERE left(id::text, 1) = '2'").await
    );
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_turns_forward_again_when_the_switch_is_taken_back() {
    let world = World::new().await;
    world.fill(211, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let cutover = switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 5").await;
    carried(&world, &mut daemon).await;
    let landing = world.landing().await;
    traffic(&world, "UPDATE leadbridge.checkpoint SET state = 'streaming'").await;
    landing.batch_execute(&format!("SELECT leadbridge.lift_fence('{cutover}')")).await.unwrap();
    landing.batch_execute("UPDATE landing_leads SET name = 'back'").await.unwrap();
    daemon.caught_up(&world).await;
    assert!(holds(&world.traffic().await, "bool_and(name = 'back') FROM traffic_leads").await);
    assert!(daemon.status().await["reverse"].is_null());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sessions_are_refused_on_landing_with_the_fences_words() {
    let world = World::new().await;
    world.fill(212, 5).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    for sql in [
        "UPDATE landing_leads SET name = 'x'",
        "DELETE FROM journey_stages",
        "TRUNCATE landing_leads CASCADE",
    ] {
        let error = world.landing().await.batch_execute(sql).await.expect_err(sql);
        assert!(error.as_db_error().is_some_and(|error| error.message() == TOLD), "{error:?}");
    }
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_landings_own_slot_changes_flow_back_and_the_slot_is_made_again() {
    let world = World::new().await;
    world.fill(213, 5).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let landing = world.landing().await;
    until_holds(&landing, "NOT bool_or(active) FROM pg_replication_slots").await;
    landing.batch_execute("SELECT pg_drop_replication_slot('leadbridge')").await.unwrap();
    let mut daemon = bridge.daemon().await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 5").await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    daemon.logs("a new slot `leadbridge` on Landing").await;
    until_holds(&landing, "count(*) = 1 FROM pg_replication_slots WHERE slot_name = 'leadbridge'").await;
    daemon.terminate().await;
}
