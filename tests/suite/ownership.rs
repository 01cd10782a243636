//! What belongs to Traffic stays as it was, whatever role the daemon has.

use leadbridge::throwaway::writers::Pace;

use crate::testkit::{Bridge, World, assert_equal, holds, least_privileged, one, writers_go_on};

#[tokio::test(flavor = "multi_thread")]
async fn what_traffic_owns_stays_as_it_was_under_the_least_privileged_role() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    keeps_what_traffic_owns(&world, &bridge, "ReplicaRole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_traffic_owns_stays_as_it_was_where_the_role_may_not_switch_triggers_off() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let revoke = "REVOKE SET ON PARAMETER session_replication_role FROM bridge";
    world.traffic().await.batch_execute(revoke).await.unwrap();
    keeps_what_traffic_owns(&world, &bridge, "GuardTriggers").await;
}

async fn keeps_what_traffic_owns(world: &World, bridge: &Bridge, control: &str) {
    world.fill(6, 300).await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    // One lead was on Traffic before, with its own status; one comes from Facebook and was never on Landing.
    let known: uuid::Uuid = one(&landing, "SELECT lead_id FROM lead_journey ORDER BY lead_id LIMIT 1").await;
    let before = format!(
        "INSERT INTO traffic_leads (id, name, status, amocrm_pipeline_id) VALUES ('{known}', 'old', 'lost', 77);
         INSERT INTO traffic_leads (name, phone, fb_lead_id, status) VALUES ('born here', '1', 'fb-1', 'contacted');
         INSERT INTO traffic_sales (lead_id, amount) SELECT id, 10 FROM traffic_leads WHERE fb_lead_id = 'fb-1';
         CREATE TABLE born_here AS SELECT * FROM traffic_leads WHERE fb_lead_id = 'fb-1'"
    );
    traffic.batch_execute(&before).await.unwrap();

    let writers = world.write(&Pace::default());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    assert!(daemon.log().contains(control), "{}", daemon.log());
    // A manager works while the stream runs, lead by lead. Each marked lead has a sale, by which it is known again.
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
    // Also where the manager's own update has stamped updated_at: from here on it is Landing's again.
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
    // Leads deleted since left their sale behind; all others are as the manager made them.
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
