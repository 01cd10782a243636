//! A marker proves the drain only when the command has announced the marker, and from the fence on: any role may write
//! a message that looks like one.

use serde_json::Value;
use tokio_postgres::Client;

use super::{CutoverSetup, PATIENT, go_on, standing_at};
use crate::replication::reverse::switch::{carried, switch};
use crate::testkit::{
    Bridge, World, caught_up_and_equal, holds, landing, stranger, traffic, until, until_holds,
};
use leadbridge::failpoint::Point;

/// Thousands of messages that look like markers, and a few that do not.
const FLOOD: &str = "DO $$ BEGIN
    FOR n IN 1..20000 LOOP PERFORM pg_logical_emit_message(false, 'leadbridge', gen_random_uuid()::text); END LOOP;
    PERFORM pg_logical_emit_message(false, 'leadbridge', ''), pg_logical_emit_message(false, 'leadbridge', 'ж'),
            pg_logical_emit_message(true, 'leadbridge', gen_random_uuid()::text);
END $$";

async fn no_marker_is_kept(traffic: &Client) {
    assert!(holds(traffic, "count(*) = 0 FROM leadbridge.markers").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_look_like_markers_leave_no_trace_in_either_direction() {
    let world = World::new().await;
    world.fill(330, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    // Apply waits, while the messages come.
    let held = world.traffic().await;
    held.batch_execute("BEGIN; LOCK TABLE traffic_leads").await.unwrap();
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    stranger(&world.landing, "landing").await.batch_execute(FLOOD).await.unwrap();
    held.batch_execute("COMMIT").await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    let on_traffic = world.traffic().await;
    no_marker_is_kept(&on_traffic).await;
    daemon.terminate().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    stranger(&world.traffic, "traffic").await.batch_execute(FLOOD).await.unwrap();
    traffic(&world, "UPDATE traffic_leads SET click_count = 2").await;
    carried(&world, &mut daemon).await;
    no_marker_is_kept(&on_traffic).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_somebody_writes_before_the_fence_does_not_drain() {
    let setup = CutoverSetup::new().await;
    let (on_landing, on_traffic) = (setup.world.landing().await, setup.world.traffic().await);
    let command =
        standing_at(&setup.bridge, &setup.arguments(&["--max-pause", "5s"]), Point::CutoverPrepared).await;
    on_landing.batch_execute("BEGIN; LOCK TABLE landing_leads IN ROW EXCLUSIVE MODE").await.unwrap();
    let going = tokio::spawn(go_on(command));
    let announced = "SELECT id FROM leadbridge.markers WHERE lsn = '0/0'";
    let id: uuid::Uuid = until("a marker is announced", async || {
        on_traffic.query_opt(announced, &[]).await.unwrap().map(|row| row.get(0))
    })
    .await;
    // Nobody can know the id. If somebody did, its message would arrive.
    let forged = format!("SELECT pg_logical_emit_message(false, 'leadbridge', '{id}')");
    stranger(&setup.world.landing, "landing").await.batch_execute(&forged).await.unwrap();
    on_traffic.batch_execute("CREATE TABLE flush ()").await.unwrap();
    landing(&setup.world, "CREATE TABLE flush ()").await;
    until_holds(
        &on_traffic,
        &format!("count(*) = 1 FROM leadbridge.markers WHERE id = '{id}' AND lsn > '0/0'"),
    )
    .await;
    // A change that cannot be applied, before the fence.
    let held = setup.world.traffic().await;
    held.batch_execute("BEGIN; SELECT FROM traffic_leads FOR UPDATE").await.unwrap();
    on_landing.batch_execute("UPDATE landing_leads SET click_count = 7; COMMIT").await.unwrap();
    let (said, code) = going.await.unwrap();
    assert!(code != 0 && said.contains("ABORTED"), "{said}");
    let never = "bool_and(drained_at IS NULL AND state = 'aborted') FROM leadbridge.cutover";
    assert!(holds(&on_traffic, never).await);
    held.batch_execute("ROLLBACK").await.unwrap();
    setup.settled().await;
    no_marker_is_kept(&on_traffic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_and_a_rollback_keep_no_marker() {
    let mut setup = CutoverSetup::new().await;
    let traffic = setup.world.traffic().await;
    // The rows of an earlier version.
    traffic
        .batch_execute("INSERT INTO leadbridge.markers VALUES (gen_random_uuid(), 'leadbridge', '0/1')")
        .await
        .unwrap();
    let certificate = setup.switches(&PATIENT).await;
    let marker: leadbridge::model::lsn::Lsn = certificate["marker_lsn"].as_str().unwrap().parse().unwrap();
    assert!(marker.0 > 1, "{certificate}");
    no_marker_is_kept(&traffic).await;
    carried(&setup.world, &mut setup.daemon).await;
    let directory = setup.bridge.dir().to_str().unwrap();
    let rollback = [&["rollback", "--yes", "--json", "--certificate", directory], &PATIENT[..]].concat();
    let said = setup.bridge.run(&rollback).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let certificate: Value = serde_json::from_str(&said.out).unwrap();
    assert!(certificate["marker_lsn"].is_string(), "{certificate}");
    no_marker_is_kept(&traffic).await;
}
