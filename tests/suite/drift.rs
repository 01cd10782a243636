//! Landing's tables change while the stream runs.

use std::time::Duration;

use crate::testkit::{Bridge, World, assert_equal, holds};

/// A lead that is written after the change.
const LATER: &str = "INSERT INTO landing_leads (name, phone) VALUES ('later', '1')";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_mapping_does_not_know_is_passed_over_with_a_warning() {
    let world = World::new().await;
    world.fill(60, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let landing = world.landing().await;
    landing
        .batch_execute(&format!("ALTER TABLE landing_leads ADD COLUMN score int DEFAULT 7; {LATER}"))
        .await
        .unwrap();
    daemon.caught_up(&world).await;
    assert_equal(&world).await;
    daemon.logs("score").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_renamed_or_retyped_in_mid_stream_stops_before_anything_is_applied() {
    let world = World::new().await;
    world.fill(61, 20).await;
    let bridge = Bridge::new(&world);
    let landing = world.landing().await;
    for (damage, repair, column) in [
        (
            "ALTER TABLE landing_leads RENAME phone TO telephone",
            "ALTER TABLE landing_leads RENAME telephone TO phone",
            "landing_leads.phone",
        ),
        (
            "ALTER TABLE landing_leads ALTER amocrm_lead_id TYPE bytea USING NULL",
            "ALTER TABLE landing_leads ALTER amocrm_lead_id TYPE text USING NULL",
            "landing_leads.amocrm_lead_id",
        ),
        (
            "ALTER TABLE landing_leads RENAME click_count TO clicks",
            "ALTER TABLE landing_leads RENAME clicks TO click_count",
            "landing_leads.click_count",
        ),
    ] {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        // Every table's columns are announced before its first change.
        landing.batch_execute("UPDATE landing_leads SET email_sent = NOT email_sent").await.unwrap();
        daemon.caught_up(&world).await;
        landing.batch_execute(&format!("BEGIN; {damage}; COMMIT")).await.unwrap();
        let again =
            "UPDATE landing_leads SET sms_sent = true WHERE id = (SELECT id FROM landing_leads LIMIT 1)";
        landing.batch_execute(again).await.unwrap();
        let ended = daemon.ended(Duration::from_secs(20)).await;
        assert_eq!(ended.code(), Some(4), "{damage}: {}", daemon.log());
        assert!(daemon.log().contains(column), "{damage}: {}", daemon.log());
        assert!(holds(&world.traffic().await, "count(*) > 0 FROM traffic_leads").await);
        landing.batch_execute(repair).await.unwrap();
        // What was written under the other shape cannot be streamed any more: the way on is the one it names.
        assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}
