//! BEFORE triggers that return NULL: PostgreSQL then leaves the row, or the delete, out without an error.

use super::{pair, quarantined, streaming};
use crate::testkit::{Bridge, World, assert_equal, differences, holds, landing, traffic};

/// A user-defined trigger, for replicated rows too, that leaves out rows with the phone '2'.
fn leaves_out(table: &str, events: &str, condition: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
             IF {condition} THEN RETURN NULL; END IF;
             RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
         END $f$;
         CREATE TRIGGER leave_out BEFORE {events} ON {table} FOR EACH ROW EXECUTE FUNCTION leave_out();
         ALTER TABLE {table} ENABLE ALWAYS TRIGGER leave_out"
    )
}

const LIFT: &str = "DROP FUNCTION leave_out CASCADE";

const LEAD: &str = "landing_leads";
const SKIPPED: &str = "09000";

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_a_trigger_leaves_out_waits_in_a_small_batch_a_large_one_and_a_copy() {
    let world = World::new().await;
    traffic(&world, &leaves_out("traffic_leads", "INSERT", "NEW.phone = '2'")).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('a', '1'), ('b', '2'), ('c', '3')")
        .await;
    let (bridge, mut daemon) = streaming(&world).await;
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED)]);
    let small =
        "WITH made AS (INSERT INTO landing_leads (name, phone) VALUES ('d', '1'), ('e', '2') RETURNING id)
        INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM made";
    landing(&world, small).await;
    daemon.caught_up(&world).await;
    let entry = || pair("lead_journey", "23503");
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED), pair(LEAD, SKIPPED), entry()]);
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) SELECT 'n', CASE n WHEN 150 THEN '2' ELSE '1' END
             FROM generate_series(1, 300) AS n",
    )
    .await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 4);
    assert_eq!(differences(&world).await.len(), 4, "all others have arrived");
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_a_trigger_leaves_out_waits_whole_or_partial() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    // Two of the leads have metadata that an update does not send.
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone, metadata) VALUES ('a', '1', '{}'), ('b', '2', '{}');
         ALTER TABLE landing_leads ALTER metadata SET STORAGE EXTERNAL;
         INSERT INTO landing_leads (name, phone, metadata)
             SELECT 'large', n::text, jsonb_build_object('utm_source', 'u', 'x', repeat('y', 9000)) FROM generate_series(1, 2) AS n",
    )
    .await;
    daemon.caught_up(&world).await;
    traffic(&world, &leaves_out("traffic_leads", "UPDATE", "NEW.phone = '2'")).await;
    landing(&world, "UPDATE landing_leads SET email = 'e' || phone").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED), pair(LEAD, SKIPPED)]);
    let whole = "bool_and(length(row_data ->> 'metadata') > 9000 OR row_data ->> 'name' = 'b') FROM leadbridge.quarantine";
    assert!(holds(&world.traffic().await, whole).await, "with what was not sent");
    assert!(holds(&world.traffic().await, "count(*) = 2 FROM traffic_leads WHERE email = 'e1'").await);
    // An update without an effect does not count as left out.
    landing(&world, "UPDATE landing_leads SET phone_normalized = 'z' WHERE phone = '1'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await.len(), 2);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_a_trigger_leaves_out_waits_in_the_stream_and_at_the_end_of_a_copy() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(
        &world,
        "INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, 200) AS n",
    )
    .await;
    daemon.caught_up(&world).await;
    traffic(&world, &leaves_out("traffic_leads", "DELETE", "OLD.phone IN ('2', '150')")).await;
    landing(&world, "DELETE FROM landing_leads WHERE phone = '2'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED)]);
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    daemon.terminate().await;
    landing(&world, "DELETE FROM landing_leads WHERE phone <> '3'").await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED), pair(LEAD, SKIPPED)]);
    assert!(holds(&world.traffic().await, "count(*) = 3 FROM traffic_leads").await);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_a_trigger_leaves_out_waits_and_the_row_that_is_there_stays() {
    let world = World::new().await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('a', '1'), ('b', '2')").await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    traffic(&world, &leaves_out("traffic_leads", "UPDATE", "NEW.phone = '2'")).await;
    let resynced = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(resynced.code, 0, "{}", resynced.err);
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED)]);
    assert!(holds(&world.traffic().await, "count(*) = 2 FROM traffic_leads").await);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_that_a_trigger_leaves_out_waits_and_what_traffic_owns_comes_along_later() {
    let world = World::new().await;
    let (bridge, mut daemon) = streaming(&world).await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('a', '1'), ('b', '2')").await;
    daemon.caught_up(&world).await;
    traffic(&world, "UPDATE traffic_leads SET status = 'qualified'").await;
    traffic(&world, &leaves_out("traffic_leads", "UPDATE", "NEW.phone = '2'")).await;
    landing(&world, "UPDATE landing_leads SET id = gen_random_uuid()").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, [pair(LEAD, SKIPPED)]);
    traffic(&world, LIFT).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 0);
    landing(&world, "UPDATE landing_leads SET email = 'e'").await;
    daemon.caught_up(&world).await;
    assert_eq!(quarantined(&world).await, []);
    assert_equal(&world).await;
    assert!(holds(&world.traffic().await, "bool_and(status = 'qualified') FROM traffic_leads").await);
    daemon.terminate().await;
}
