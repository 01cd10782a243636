//! Deletes that Traffic refuses, and other removals of rows while some rows wait.

use super::{quarantined, streaming};
use crate::testkit::{World, assert_equal, caught_up_and_equal, holds, landing, one, traffic};

const CONTRACTS: &str =
    "CREATE TABLE contracts (lead_id uuid REFERENCES traffic_leads (id) ON DELETE RESTRICT);
                         INSERT INTO contracts SELECT id FROM traffic_leads WHERE name = 'kept'";

const LEADS: &str = "INSERT INTO landing_leads (name, phone) VALUES ('kept', '1'), ('other', '2');
                     INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads";

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_the_schools_own_table_forbids_waits_until_it_is_possible() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(&world, LEADS).await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, CONTRACTS).await;
    landing(&world, "DELETE FROM landing_leads").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 1);
    let on_traffic = world.traffic().await;
    assert!(holds(&on_traffic, "(SELECT count(*) FROM traffic_leads) = 1").await);
    assert!(holds(&on_traffic, "(SELECT count(*) FROM traffic_lead_journey) = 0").await);
    let id: i64 = one(&on_traffic, "SELECT id FROM leadbridge.quarantine").await;
    let shown = bridge.run(&["quarantine", "show", &id.to_string()]).await;
    assert!(shown.out.contains("delete"), "{}", shown.out);
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    traffic(&world, "DROP TABLE contracts").await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_back_frees_its_delete_that_was_waiting() {
    let world = World::new().await;
    let (_bridge, mut daemon) = streaming(&world).await;
    landing(&world, LEADS).await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, CONTRACTS).await;
    landing(
        &world,
        "CREATE TABLE aside AS SELECT * FROM landing_leads WHERE name = 'kept'; DELETE FROM landing_leads",
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 1);
    landing(&world, "INSERT INTO landing_leads SELECT * FROM aside").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(quarantined(&world).await, []);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_snapshot_quarantines_again_what_traffic_still_does_not_take() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(&world, LEADS).await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, CONTRACTS).await;
    landing(
        &world,
        "DELETE FROM landing_leads WHERE name = 'kept';
         UPDATE landing_leads SET name = repeat('x', 300);
         INSERT INTO landing_leads (name, phone) VALUES (repeat('y', 300), '3');
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 'late' FROM landing_leads",
    )
    .await;
    daemon.caught_up(&world).await;
    // The delete, two leads, and the entry of the lead that has never been on Traffic.
    let before = quarantined(&world).await;
    assert_eq!(before.len(), 4);
    daemon.terminate().await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_eq!(quarantined(&world).await, before);
    traffic(&world, "DROP TABLE contracts").await;
    landing(&world, "UPDATE landing_leads SET name = 'good'").await;
    bridge.catch_up().await;
    let retried = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_truncate_takes_quarantined_rows_with_it_and_one_that_is_forbidden_stops_with_a_remedy() {
    let world = World::new().await;
    let bridge = crate::testkit::Bridge::new(&world).configured("[stream]\non_truncate = \"apply\"");
    landing(&world, LEADS).await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) VALUES (repeat('y', 300), '3');
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 'late' FROM landing_leads",
    )
    .await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await.len(), 2);
    landing(&world, "TRUNCATE landing_leads CASCADE").await;
    landing(&world, LEADS).await;
    bridge.catch_up().await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;

    traffic(&world, CONTRACTS).await;
    landing(&world, "TRUNCATE landing_leads CASCADE").await;
    let said = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    assert_eq!(said.err.matches("what to do:").count(), 1, "{}", said.err);
    traffic(&world, "DROP TABLE contracts").await;
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_of_leads_alone_is_refused_even_where_truncates_are_applied() {
    let world = World::new().await;
    let bridge = crate::testkit::Bridge::new(&world).configured("[stream]\non_truncate = \"apply\"");
    landing(&world, LEADS).await;
    bridge.catch_up().await;
    // PostgreSQL truncates a referenced table only together with the referring tables.
    let (mut drop, mut add) = (String::new(), String::new());
    for table in ["journey_stages", "scheduled_notifications"] {
        drop += &format!("ALTER TABLE {table} DROP CONSTRAINT {table}_lead_id_fkey; ");
        add += &format!(
            "ALTER TABLE {table} ADD CONSTRAINT {table}_lead_id_fkey FOREIGN KEY (lead_id)
                 REFERENCES landing_leads (id) ON DELETE CASCADE NOT VALID; "
        );
    }
    landing(&world, &format!("BEGIN; {drop} TRUNCATE landing_leads; {add} COMMIT")).await;
    let said = bridge.run(&["run", "--until-caught-up"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("not of journey_stages") && said.err.contains("resync"), "{}", said.err);
    assert!(holds(&world.traffic().await, "count(*) = 2 FROM traffic_lead_journey").await);
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    assert_eq!(quarantined(&world).await, vec![super::pair("lead_journey", "23503"); 2]);
}
