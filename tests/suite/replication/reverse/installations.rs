//! Databases and roles that differ: reverse replication writes the columns that Landing has, with the rights of the
//! role.

use leadbridge::migrate::MigrateOptions;

use super::exact::{assert_back, differences_back};
use super::rows::switched;
use super::switch::carried;
use crate::testkit::{Bridge, Positions, World, holds, landing, least_privileged, one, table_rows, traffic};

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_least_privilege_carries_back() {
    let world = World::new().await;
    world.fill(203, 20).await;
    let bridge = least_privileged(&world).await;
    let mut daemon = switched(&world, &bridge).await;
    let flushed: String = one(&world.landing().await, "SELECT pg_current_wal_flush_lsn()::text").await;
    let fenced = Some(flushed.parse().unwrap());
    let sql = "UPDATE traffic_leads SET click_count = 9;
               INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 's', now() FROM traffic_leads;
               DELETE FROM traffic_leads WHERE left(id::text, 1) IN ('1', '2', '3', '4')";
    traffic(&world, sql).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert!(!daemon.log().contains("is not moved along"), "{}", daemon.log());
    daemon.terminate().await;
    let positions = Positions::read(&world, &bridge).await;
    positions.assert_ordered();
    // The role advances Landing's slot, too.
    assert!(positions.slot >= fenced, "{positions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_go_along_where_they_are_switched_on() {
    let world = World::unmigrated().await;
    world.migrate(&MigrateOptions { notifications: true, ..MigrateOptions::default() }).await;
    world.fill(204, 20).await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    landing(
        &world,
        "INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for)
             SELECT id, 'email', now() FROM landing_leads",
    )
    .await;
    let mut daemon = switched(&world, &bridge).await;
    let sql = "UPDATE traffic_scheduled_notifications SET status = 'sent', retry_count = 2;
               INSERT INTO traffic_scheduled_notifications (lead_id, notification_type, scheduled_for)
                   SELECT id, 'sms', now() FROM traffic_leads;
               DELETE FROM traffic_scheduled_notifications WHERE left(id::text, 1) IN ('5', '6');
               DELETE FROM traffic_leads WHERE left(id::text, 1) IN ('1', '2', '3', '4')";
    traffic(&world, sql).await;
    carried(&world, &mut daemon).await;
    assert_back(&world, &[]).await;
    assert!(!table_rows(&world.landing().await, "scheduled_notifications").await.is_empty());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_landing_gets_what_it_has_columns_for() {
    let world = World::unmigrated().await;
    landing(
        &world,
        "ALTER TABLE landing_leads DROP COLUMN phone_normalized, DROP COLUMN amocrm_contact_id, DROP COLUMN click_count,
             DROP COLUMN email_clicked_at, DROP COLUMN sms_clicked_at;
         ALTER TABLE landing_leads ALTER COLUMN email SET NOT NULL, ALTER COLUMN email SET DEFAULT '',
             ALTER COLUMN source TYPE varchar(60);
         ALTER TABLE landing_leads ADD COLUMN score integer DEFAULT 5, ADD COLUMN seen timestamptz NOT NULL DEFAULT '2020-01-01+00',
             ADD COLUMN of_phone text GENERATED ALWAYS AS (phone || '!') STORED",
    )
    .await;
    world.migrate(&MigrateOptions::default()).await;
    landing(&world, "INSERT INTO landing_leads (name, phone, score) VALUES ('n', '1', 7)").await;
    let bridge = Bridge::new(&world);
    let mut daemon = switched(&world, &bridge).await;
    let sql = "UPDATE traffic_leads SET name = 'other', click_count = 3, amocrm_contact_id = 9;
               INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES (gen_random_uuid(), 'born', '2', 'twland')";
    traffic(&world, sql).await;
    carried(&world, &mut daemon).await;
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    let found: String = one(
        &world.landing().await,
        "SELECT string_agg(concat_ws(' ', name, email, score, of_phone, seen = '2020-01-01+00'), ', ' ORDER BY name) FROM landing_leads",
    )
    .await;
    assert_eq!(found, "born  2! t, other  7 1! t");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_role_may_not_switch_triggers_off_landing_stamps_the_time_and_nothing_else() {
    let world = World::new().await;
    world.fill(205, 10).await;
    let bridge = least_privileged(&world).await;
    landing(&world, "REVOKE SET ON PARAMETER session_replication_role FROM bridge").await;
    let mut daemon = switched(&world, &bridge).await;
    let sql = "UPDATE traffic_leads SET click_count = 9, updated_at = '2020-01-01';
               INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 's', now() FROM traffic_leads;
               DELETE FROM traffic_leads WHERE left(id::text, 1) IN ('1', '2', '3', '4')";
    traffic(&world, sql).await;
    carried(&world, &mut daemon).await;
    let found = differences_back(&world, &[]).await;
    assert!(!found.is_empty() && found.iter().all(|line| line.ends_with(": updated_at")), "{found:?}");
    daemon.logs("updated_at becomes the time of replication").await;
    daemon.terminate().await;
}
