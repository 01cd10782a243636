//! A role whose default runs no trigger and no cascade: leadbridge has the same effect as under any role.

use crate::replication::reverse::rows::switched;
use crate::replication::reverse::switch::carried;
use crate::testkit::{
    Bridge, World, assert_equal, caught_up_and_equal, holds, landing, least_privileged, traffic,
};

/// A world with sold leads that have journey entries of Traffic's own, and a role with that default.
async fn sold() -> (World, Bridge) {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    world.fill(70, 30).await;
    bridge.catch_up().await;
    let default = "ALTER ROLE bridge SET session_replication_role = replica";
    landing(&world, default).await;
    traffic(
        &world,
        &format!(
            "{default}; INSERT INTO traffic_sales (lead_id, amount) SELECT id, 5 FROM traffic_leads;
             INSERT INTO traffic_lead_journey (lead_id, stage) SELECT id, 'on Traffic' FROM traffic_leads"
        ),
    )
    .await;
    (world, bridge)
}

const DELETED: &str =
    "DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 10)";

/// No sale and no journey entry names a deleted lead.
async fn assert_no_dangling(world: &World, sales_without_a_lead: i64) {
    let client = world.traffic().await;
    for table in ["traffic_sales", "traffic_lead_journey"] {
        let dangling =
            format!("count(*) = 0 FROM {table} WHERE lead_id NOT IN (SELECT id FROM traffic_leads)");
        assert!(holds(&client, &dangling).await, "{table} has rows whose lead is gone");
    }
    let set_null = format!("count(*) = {sales_without_a_lead} FROM traffic_sales WHERE lead_id IS NULL");
    assert!(holds(&client, &set_null).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_and_a_stream_delete_with_cascades_whatever_the_roles_default_is() {
    let (world, bridge) = sold().await;
    landing(&world, DELETED).await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}{}", resynced.out, resynced.err);
    assert_equal(&world).await;
    assert_no_dangling(&world, 10).await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, DELETED).await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_no_dangling(&world, 20).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reverse_replication_deletes_with_landings_cascades_whatever_the_roles_default_is() {
    let (world, bridge) = sold().await;
    landing(
        &world,
        "CREATE TABLE links (lead_id uuid REFERENCES landing_leads ON DELETE SET NULL);
         INSERT INTO links SELECT id FROM landing_leads",
    )
    .await;
    let mut daemon = switched(&world, &bridge).await;
    traffic(
        &world,
        "DELETE FROM traffic_leads WHERE id IN (SELECT id FROM traffic_leads ORDER BY id LIMIT 10)",
    )
    .await;
    carried(&world, &mut daemon).await;
    let client = world.landing().await;
    assert!(holds(&client, "count(*) = 20 FROM landing_leads").await);
    assert!(holds(&client, "count(*) = 10 FROM links WHERE lead_id IS NULL").await);
    let dangling = "count(*) = 0 FROM journey_stages WHERE lead_id NOT IN (SELECT id FROM landing_leads)";
    assert!(holds(&client, dangling).await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_leave_such_a_default_is_refused_with_what_to_run() {
    let (world, bridge) = sold().await;
    traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    let refused = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("RESET session_replication_role"), "{}", refused.err);
}
