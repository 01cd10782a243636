//! Traffic's own data stays as it was, for any role of the daemon.

use leadbridge::throwaway::writers::WriteRate;

use crate::testkit::{
    Bridge, Daemon, World, assert_equal, caught_up_and_equal, holds, landing, least_privileged, one, traffic,
    writers_go_on,
};

/// One lead was on Traffic before, under its id on Landing.
const LANDING_WINS: &str = "[snapshot]\nsame_id = \"landing\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_traffic_owns_stays_as_it_was_under_the_least_privileged_role() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await.configured(LANDING_WINS);
    keeps_what_traffic_owns(&world, &bridge, "ReplicaRole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_traffic_owns_stays_as_it_was_where_the_role_may_not_switch_triggers_off() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await.configured(LANDING_WINS);
    let revoke = "REVOKE SET ON PARAMETER session_replication_role FROM bridge";
    world.traffic().await.batch_execute(revoke).await.unwrap();
    keeps_what_traffic_owns(&world, &bridge, "GuardTriggers").await;
}

async fn keeps_what_traffic_owns(world: &World, bridge: &Bridge, control: &str) {
    world.fill(6, 300).await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    // One lead was on Traffic before, with its own status; another lead comes from Facebook and was never on Landing.
    let known: uuid::Uuid =
        one(&landing, "SELECT lead_id FROM journey_stages ORDER BY lead_id LIMIT 1").await;
    let before = format!(
        "INSERT INTO traffic_leads (id, name, status, amocrm_pipeline_id) VALUES ('{known}', 'old', 'lost', 77);
         INSERT INTO traffic_leads (name, phone, fb_lead_id, status) VALUES ('born here', '1', 'fb-1', 'contacted');
         INSERT INTO traffic_sales (lead_id, amount) SELECT id, 10 FROM traffic_leads WHERE fb_lead_id = 'fb-1';
         CREATE TABLE born_here AS SELECT * FROM traffic_leads WHERE fb_lead_id = 'fb-1'"
    );
    traffic.batch_execute(&before).await.unwrap();

    let writers = world.write(&WriteRate::default());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    assert!(daemon.log().contains(control), "{}", daemon.log());
    // A manager works while the stream runs, lead by lead. Each marked lead has a sale, which identifies the lead
    // later.
    let leads = "SELECT id FROM traffic_leads WHERE landing_synced_at IS NOT NULL
                 AND amocrm_pipeline_id IS NULL LIMIT 100";
    let manager = "WITH marked AS (
                       UPDATE traffic_leads SET status = 'qualified', amocrm_pipeline_id = 7, amocrm_status_id = 8,
                           fb_form_id = coalesce(fb_form_id, 'own') WHERE id = $1 RETURNING id)
                   INSERT INTO traffic_sales (lead_id, amount) SELECT id, 20 FROM marked";
    for lead in traffic.query(leads, &[]).await.unwrap() {
        traffic.execute(manager, &[&lead.get::<_, uuid::Uuid>(0)]).await.unwrap();
    }
    writers_go_on(world, 200).await;
    writers.stop().await.unwrap();
    // Also where the manager's own update has stamped updated_at: from here on updated_at is Landing's again.
    let touch = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1";
    landing.batch_execute(touch).await.unwrap();
    daemon.caught_up(world).await;
    assert_equal(world).await;
    daemon.terminate().await;

    let born = "(SELECT row(b.*)::text FROM born_here AS b)
        = (SELECT row(t.*)::text FROM traffic_leads AS t WHERE fb_lead_id = 'fb-1' AND landing_synced_at IS NULL)";
    assert!(holds(&traffic, born).await, "the lead from Facebook");
    let sales = "count(*) = 1 FROM traffic_sales AS s JOIN traffic_leads AS l ON l.id = s.lead_id
        WHERE l.fb_lead_id = 'fb-1' AND s.amount = 10";
    assert!(holds(&traffic, sales).await, "its sale");
    // Leads deleted since left their sale behind; all others are in the manager's state.
    let marked: i64 = one(
        &traffic,
        "SELECT count(*) FROM traffic_leads WHERE amocrm_pipeline_id = 7 AND amocrm_status_id = 8
             AND status = 'qualified' AND fb_form_id IS NOT NULL",
    )
    .await;
    let orphaned: i64 =
        one(&traffic, "SELECT count(*) FROM traffic_sales WHERE amount = 20 AND lead_id IS NULL").await;
    let sold: i64 = one(&traffic, "SELECT count(*) FROM traffic_sales WHERE amount = 20").await;
    assert_eq!(marked + orphaned, sold);
    assert!(marked > 50, "{marked}");
    let known = format!(
        "NOT EXISTS (SELECT FROM traffic_leads WHERE id = '{known}'
             AND (status, amocrm_pipeline_id) IS DISTINCT FROM ('lost', 77))"
    );
    assert!(holds(&traffic, &known).await, "the lead that was there before");
}

/// Simulates rows that Traffic brought by itself, with the same values: a dual write, or an import.
const BROUGHT_BY_TRAFFIC: &str = "SET session_replication_role = replica;
    UPDATE traffic_leads SET landing_synced_at = NULL; UPDATE traffic_lead_journey SET landing_synced_at = NULL";

const ALL_ARE_LANDINGS: &str = "(SELECT bool_and(landing_synced_at IS NOT NULL) FROM traffic_leads)
    AND (SELECT bool_and(landing_synced_at IS NOT NULL) FROM traffic_lead_journey)";

/// Landing inserts rows that Traffic has already, and deletes them later.
async fn inserts_what_is_there(world: &World, daemon: &mut Daemon, leads: usize) {
    let made = format!(
        "INSERT INTO landing_leads (name, phone) SELECT 'n', n::text FROM generate_series(1, {leads}) AS n;
         INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads;
         CREATE TABLE leads AS SELECT * FROM landing_leads; CREATE TABLE entries AS SELECT * FROM journey_stages"
    );
    landing(world, &made).await;
    caught_up_and_equal(world, daemon).await;
    traffic(world, BROUGHT_BY_TRAFFIC).await;
    landing(world, "DELETE FROM landing_leads").await;
    daemon.caught_up(world).await;
    let client = world.traffic().await;
    assert!(holds(&client, &format!("count(*) = {leads} FROM traffic_leads")).await, "they are Traffic's");
    landing(
        world,
        "BEGIN; INSERT INTO landing_leads SELECT * FROM leads; INSERT INTO journey_stages SELECT * FROM entries;
         COMMIT; DROP TABLE leads, entries",
    )
    .await;
    caught_up_and_equal(world, daemon).await;
    assert!(holds(&client, ALL_ARE_LANDINGS).await);
    landing(world, "DELETE FROM landing_leads").await;
    caught_up_and_equal(world, daemon).await;
    assert!(holds(&client, "count(*) = 0 FROM traffic_lead_journey").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_landing_inserts_becomes_landings_although_traffic_has_it_with_the_same_values() {
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    for leads in [2, 300] {
        inserts_what_is_there(&world, &mut daemon, leads).await;
    }
    // An update alone makes the rows Landing's, too, and so does a repair.
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '1'), ('m', '2')").await;
    landing(&world, "INSERT INTO journey_stages (lead_id, stage) SELECT id, 's' FROM landing_leads").await;
    caught_up_and_equal(&world, &mut daemon).await;
    traffic(&world, BROUGHT_BY_TRAFFIC).await;
    landing(
        &world,
        "UPDATE landing_leads SET phone_normalized = 'x'; UPDATE journey_stages SET stage = stage",
    )
    .await;
    daemon.caught_up(&world).await;
    assert!(holds(&world.traffic().await, ALL_ARE_LANDINGS).await);
    daemon.terminate().await;
    traffic(&world, BROUGHT_BY_TRAFFIC).await;
    let repaired = bridge.run(&["verify", "--repair"]).await;
    assert!(repaired.out.contains("4 rows written"), "{}{}", repaired.out, repaired.err);
    assert!(holds(&world.traffic().await, ALL_ARE_LANDINGS).await);
    assert_eq!(bridge.run(&["verify", "--wait", "0s"]).await.code, 0);
}
