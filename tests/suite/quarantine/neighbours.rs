//! Several rows of one batch that Traffic refuses.

use crate::testkit::{Bridge, World};

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_side_by_side_are_all_quarantined_and_the_good_ones_around_them_arrive() {
    let world = World::new().await;
    let traffic = world.traffic().await;
    traffic.batch_execute("ALTER TABLE traffic_leads ADD CHECK (click_count < 100)").await.unwrap();
    let landing = world.landing().await;
    let leads = "INSERT INTO landing_leads (name, phone, click_count)
                 SELECT 'lead', '1', CASE WHEN n BETWEEN 3 AND 6 THEN 100 ELSE 0 END FROM generate_series(1, 9) n";
    landing.batch_execute(leads).await.unwrap();
    let bridge = Bridge::new(&world);
    let count = async |sql: &str| traffic.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    bridge.catch_up().await;
    assert_eq!(count("SELECT count(*) FROM traffic_leads").await, 5);
    assert_eq!(count("SELECT count(*) FROM leadbridge.quarantine WHERE sqlstate = '23514'").await, 4);
    // The stream has the same outcome.
    landing.batch_execute(leads).await.unwrap();
    bridge.catch_up().await;
    assert_eq!(count("SELECT count(*) FROM traffic_leads").await, 10);
    assert_eq!(count("SELECT count(*) FROM leadbridge.quarantine").await, 8);
}
