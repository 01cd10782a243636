//! The operator's view of reverse replication, and the markers that prove the drain.

use super::switch::{carried, switch};
use crate::testkit::{Bridge, World, one, said, traffic, until_holds};

#[tokio::test(flavor = "multi_thread")]
async fn status_says_how_far_reverse_replication_is_with_and_without_a_daemon() {
    let world = World::new().await;
    world.fill(240, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let before = bridge.run(&["status", "--json"]).await;
    let before: serde_json::Value = serde_json::from_str(&before.out).unwrap();
    assert!(before["reverse"].is_null());
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    let status = daemon.until("nothing is behind", |status| status["lag_bytes"] == 0).await;
    assert_eq!((&status["state"], &status["daemon"]), (&"switched".into(), &"running".into()));
    let reverse = &status["reverse"];
    assert_eq!(reverse["slot"], "leadbridge_reverse");
    assert_eq!((&reverse["active"], &reverse["wal_status"]), (&true.into(), &"reserved".into()));
    assert_eq!((&reverse["lag_bytes"], &reverse["quarantined"]), (&0.into(), &0.into()));
    assert!(reverse["retained_bytes"].is_u64() && reverse["lag_seconds"].is_f64(), "{reverse}");
    assert_eq!(daemon.get("/readyz").await.as_deref(), Some("ready\n"));
    let ran = said(daemon.command(&bridge, &["status"])).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.starts_with("state       SWITCHED") && ran.out.contains("leadbridge_reverse: in use"),
        "{}",
        ran.out
    );
    let examined = bridge.run(&["doctor"]).await;
    assert_eq!(examined.code, 0, "{}", examined.out);
    assert!(examined.out.contains("replicates Traffic's changes"), "{}", examined.out);
    daemon.terminate().await;
    until_holds(&world.traffic().await, "NOT bool_or(active) FROM pg_replication_slots").await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 3").await;
    let down = bridge.run(&["status", "--json"]).await;
    assert_eq!(down.code, 2, "{}", down.err);
    let down: serde_json::Value = serde_json::from_str(&down.out).unwrap();
    assert_eq!((&down["state"], &down["daemon"]), (&"switched".into(), &"down".into()));
    assert!(
        down["lag_bytes"].as_u64().is_some_and(|bytes| bytes > 0) && down["lag_is_estimate"] == true,
        "{down}"
    );
    assert_eq!(down["reverse"]["active"], false);
    bridge.catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_is_written_down_when_everything_before_it_is_on_landing() {
    let world = World::new().await;
    world.fill(241, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    let marker = uuid::Uuid::new_v4();
    let announced =
        format!("INSERT INTO leadbridge.markers VALUES ('{marker}', 'leadbridge_reverse', '0/0')");
    traffic(&world, &announced).await;
    // Two transactions, because the marker does not wait for its own commit.
    traffic(&world, "UPDATE traffic_leads SET name = 'before the marker'").await;
    traffic(&world, &format!("SELECT pg_logical_emit_message(false, 'leadbridge', '{marker}')")).await;
    let client = world.traffic().await;
    until_holds(
        &client,
        &format!("count(*) = 1 FROM leadbridge.markers WHERE id = '{marker}' AND lsn > '0/0'"),
    )
    .await;
    let landing = world.landing().await;
    let there: bool = one(&landing, "SELECT bool_and(name = 'before the marker') FROM landing_leads").await;
    assert!(there);
    let of = format!("SELECT slot FROM leadbridge.markers WHERE id = '{marker}'");
    assert_eq!(one::<String>(&client, &of).await, "leadbridge_reverse");
    // A new stream from Landing begins after reverse replication's writes.
    let applied: String = one(&client, "SELECT applied_lsn::text FROM leadbridge.checkpoint").await;
    let written: bool = one(
        &landing,
        &format!("SELECT '{applied}'::pg_lsn >= max(l.lsn) FROM (SELECT confirmed_flush_lsn AS lsn FROM pg_replication_slots) AS l"),
    )
    .await;
    assert!(written);
    daemon.terminate().await;
}
