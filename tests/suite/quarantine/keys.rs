//! Keys change while their rows wait in quarantine.

use super::{pair, quarantined, streaming};
use crate::testkit::{
    Bridge, Daemon, World, assert_equal, caught_up_and_equal, holds, landing, least_privileged, traffic,
};

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
    assert_eq!(quarantined(world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_traffic_has_not_free_yet_waits_and_a_retry_leaves_nothing_of_the_old_one() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    with_a_delete_that_waits(&world, &mut daemon).await;
    landing(&world, &format!("UPDATE landing_leads SET id = '{B}' WHERE id = '{A}'")).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('c', '3')").await;
    daemon.caught_up(&world).await;
    assert!(!quarantined(&world).await.is_empty());
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
             INSERT INTO journey_stages (lead_id, stage) VALUES ('{A}', 'from bad'), ('{B}', 'from good')"
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    let (lead, stage) = (pair("landing_leads", "22001"), pair("lead_journey", "23503"));
    assert_eq!(quarantined(&world).await, [lead.clone(), stage.clone()]);
    // Both entries exchange their leads: the entry that leaves the bad lead is free, the entry that joins the bad
    // lead waits.
    landing(
        &world,
        &format!(
            "UPDATE journey_stages SET lead_id = CASE stage WHEN 'from bad' THEN '{B}' ELSE '{A}' END::uuid"
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [lead, stage]);
    // The entry's former lead is deleted, and Traffic's cascade deletes the older image of the waiting entry.
    landing(
        &world,
        &format!("UPDATE journey_stages SET lead_id = '{A}'; DELETE FROM landing_leads WHERE id = '{B}'"),
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 3);
    landing(&world, &format!("UPDATE landing_leads SET name = 'good', id = '{B}' WHERE false")).await;
    landing(&world, "UPDATE landing_leads SET name = 'good'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(quarantined(&world).await, []);
    daemon.terminate().await;
}

/// Leads `A` and `B`, each with a status and a sale of Traffic's own, on a Traffic that lets no key change.
async fn with_keys_that_stay(switches_triggers_off: bool) -> (World, Bridge, Daemon) {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    if !switches_triggers_off {
        traffic(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    }
    let two =
        format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{A}', 'a', '1'), ('{B}', 'b', '2')");
    landing(&world, &two).await;
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(
        &world,
        "INSERT INTO traffic_sales (lead_id, amount) SELECT id, ascii(name) FROM traffic_leads;
         SET session_replication_role = replica;
         UPDATE traffic_leads SET status = CASE name WHEN 'a' THEN 'qualified' ELSE 'lost' END;
         CREATE FUNCTION no_new_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id <> OLD.id THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER no_new_key BEFORE UPDATE ON traffic_leads FOR EACH ROW EXECUTE FUNCTION no_new_key();
         ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER no_new_key",
    )
    .await;
    (world, bridge, daemon)
}

/// Whether the lead with the name has the status and the sale of lead `a` (97) or `b` (98).
async fn owns(world: &World, name: &str, status: &str, sale: u8) -> bool {
    let own = format!(
        "count(*) = 1 FROM traffic_leads AS l JOIN traffic_sales AS s ON s.lead_id = l.id
             WHERE l.name = '{name}' AND l.status = '{status}' AND s.amount = {sale}"
    );
    holds(&world.traffic().await, &own).await
}

const C: &str = "00000000-0000-0000-0000-0000000000cc";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_change_that_traffic_refused_keeps_what_traffic_owns_once_it_is_made() {
    for switches_triggers_off in [true, false] {
        let (world, bridge, mut daemon) = with_keys_that_stay(switches_triggers_off).await;
        landing(&world, &format!("UPDATE landing_leads SET id = '{C}' WHERE id = '{A}'")).await;
        landing(
            &world,
            &format!(
                "INSERT INTO journey_stages (lead_id, stage) VALUES ('{C}', 'of the old lead');
                 INSERT INTO landing_leads (id, name, phone) VALUES ('{A}', 'another', '3');
                 INSERT INTO journey_stages (lead_id, stage) VALUES ('{A}', 'of the new lead')"
            ),
        )
        .await;
        daemon.caught_up(&world).await;
        let waiting: Vec<String> = quarantined(&world).await.into_iter().map(|(table, _)| table).collect();
        assert_eq!(waiting, ["landing_leads", "landing_leads", "lead_journey", "lead_journey"]);
        assert!(owns(&world, "a", "qualified", 97).await, "the older image stays");
        assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
        traffic(&world, "DROP TRIGGER no_new_key ON traffic_leads").await;
        let retried = bridge.run(&["quarantine", "retry"]).await;
        assert_eq!(retried.code, 0, "{}{}", retried.out, retried.err);
        assert_equal(&world).await;
        assert!(owns(&world, "a", "qualified", 97).await);
        assert!(
            holds(
                &world.traffic().await,
                "count(*) = 1 FROM traffic_leads WHERE name = 'another' AND status = 'new'"
            )
            .await
        );
        daemon.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_that_exchanged_their_keys_in_quarantine_keep_what_traffic_owns_of_each() {
    let (world, _bridge, mut daemon) = with_keys_that_stay(true).await;
    landing(
        &world,
        &format!(
            "UPDATE landing_leads SET id = '{C}' WHERE id = '{A}'; UPDATE landing_leads SET id = '{A}' WHERE id = '{B}';
             UPDATE landing_leads SET id = '{B}' WHERE id = '{C}'"
        ),
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 2);
    traffic(&world, "DROP TRIGGER no_new_key ON traffic_leads").await;
    landing(&world, "UPDATE landing_leads SET click_count = 3").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(quarantined(&world).await, []);
    assert!(owns(&world, "a", "qualified", 97).await && owns(&world, "b", "lost", 98).await);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_reaches_the_row_under_the_key_that_traffic_holds_it_under_and_no_other() {
    let (world, _bridge, mut daemon) = with_keys_that_stay(true).await;
    landing(&world, &format!("UPDATE landing_leads SET id = '{C}' WHERE id = '{A}'")).await;
    landing(&world, &format!("INSERT INTO landing_leads (id, name, phone) VALUES ('{A}', 'another', '3')"))
        .await;
    daemon.caught_up(&world).await;
    landing(&world, &format!("DELETE FROM landing_leads WHERE id = '{A}'")).await;
    daemon.caught_up(&world).await;
    assert!(owns(&world, "a", "qualified", 97).await, "the other lead's image stays");
    landing(&world, &format!("DELETE FROM landing_leads WHERE id = '{C}'")).await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_eq!(quarantined(&world).await, []);
    assert!(holds(&world.traffic().await, "count(*) = 1 FROM traffic_sales WHERE lead_id IS NULL").await);
    daemon.terminate().await;
}
