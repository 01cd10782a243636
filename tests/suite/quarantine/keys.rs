//! Keys that change while their rows wait in quarantine.

use super::{pair, parked, streaming};
use crate::testkit::{World, assert_equal, caught_up_and_equal, landing, traffic};

const A: &str = "00000000-0000-0000-0000-0000000000aa";
const B: &str = "00000000-0000-0000-0000-0000000000bb";

/// Leads `A` and `B`; a contract on Traffic keeps `B` from being deleted, and Landing has deleted it.
async fn with_a_delete_that_waits(world: &World, daemon: &mut crate::testkit::Daemon) {
    landing(
        world,
        &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{A}', 'a', '1'), ('{B}', 'b', '2')"),
    )
    .await;
    caught_up_and_equal(world, daemon).await;
    traffic(
        world,
        &format!(
            "CREATE TABLE contracts (lead_id uuid REFERENCES traffic_leads (id) ON DELETE RESTRICT);
             INSERT INTO contracts VALUES ('{B}')"
        ),
    )
    .await;
    landing(world, &format!("DELETE FROM landing_leads WHERE id = '{B}'")).await;
    daemon.caught_up(world).await;
    assert_eq!(parked(world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_traffic_has_not_free_yet_waits_and_a_retry_leaves_nothing_of_the_old_one() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    with_a_delete_that_waits(&world, &mut daemon).await;
    landing(&world, &format!("UPDATE landing_leads SET id = '{B}' WHERE id = '{A}'")).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('c', '3')").await;
    daemon.caught_up(&world).await;
    assert!(!parked(&world).await.is_empty());
    traffic(&world, "DROP TABLE contracts").await;
    let retried = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_may_take_the_key_of_a_row_whose_delete_waits() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    with_a_delete_that_waits(&world, &mut daemon).await;
    landing(&world, &format!("UPDATE landing_leads SET name = repeat('x', 300) WHERE id = '{A}'")).await;
    daemon.caught_up(&world).await;
    landing(&world, &format!("UPDATE landing_leads SET id = '{B}' WHERE id = '{A}'")).await;
    daemon.caught_up(&world).await;
    traffic(&world, "DROP TABLE contracts").await;
    landing(&world, "UPDATE landing_leads SET name = 'good'").await;
    daemon.caught_up(&world).await;
    let retried = bridge.run(&["quarantine", "retry"]).await;
    assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_follows_its_bad_lead_wherever_it_is_moved() {
    let world = World::new().await;
    let (_bridge, mut daemon) = streaming(&world).await;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone) VALUES ('{A}', repeat('x', 300), '1'), ('{B}', 'b', '2');
             INSERT INTO lead_journey (lead_id, stage) VALUES ('{A}', 'from bad'), ('{B}', 'from good')"
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    let (lead, stage) = (pair("landing_leads", "22001"), pair("lead_journey", "23503"));
    assert_eq!(parked(&world).await, [lead.clone(), stage.clone()]);
    // Both change places: what came from the bad lead is free, what came to it waits.
    landing(
        &world,
        &format!(
            "UPDATE lead_journey SET lead_id = CASE stage WHEN 'from bad' THEN '{B}' ELSE '{A}' END::uuid"
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(parked(&world).await, [lead, stage]);
    // The lead it came from goes, and with it, by Traffic's cascade, the older image of the stage that waits.
    landing(
        &world,
        &format!("UPDATE lead_journey SET lead_id = '{A}'; DELETE FROM landing_leads WHERE id = '{B}'"),
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(parked(&world).await.len(), 3);
    landing(&world, &format!("UPDATE landing_leads SET name = 'good', id = '{B}' WHERE false")).await;
    landing(&world, "UPDATE landing_leads SET name = 'good'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(parked(&world).await, []);
    daemon.terminate().await;
}
