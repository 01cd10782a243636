//! Notifications of Landing: what an operator is told while they are not replicated, and rows without timestamps.

use serde_json::Value;

use crate::testkit::{
    Bridge, World, caught_up_and_equal, holds, landing, least_privileged, traffic, until_holds,
};

const PENDING: &str = "INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for, status)
    SELECT id, 'email', now(), CASE WHEN row_number() OVER () = 1 THEN 'sent' ELSE 'pending' END FROM landing_leads";

async fn doctor(bridge: &Bridge) -> String {
    let said = bridge.run(&["doctor"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    said.out
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_notifications_that_are_not_replicated_are_counted_with_what_to_switch_on() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    world.fill(21, 4).await;
    assert!(doctor(&bridge).await.contains("no notification is pending on Landing"));
    landing(&world, PENDING).await;
    let told = "notifications pending on Landing and not replicated: 3";
    let remedy = "set scheduled_notifications = true, then run `leadbridge migrate` and `leadbridge resync`";
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let directory = bridge.dir().to_str().unwrap();
    for command in [&["doctor"][..], &["cutover", "--dry-run", "--certificate", directory]] {
        let said = bridge.run(command).await;
        assert_eq!(said.code, 0, "{command:?}: {}{}", said.out, said.err);
        for words in [told, remedy] {
            assert!(said.out.contains(words), "{command:?}: {}", said.out);
        }
    }
    daemon.terminate().await;
    landing(&world, "REVOKE SELECT (status) ON scheduled_notifications FROM bridge").await;
    assert!(doctor(&bridge).await.contains("whether notifications are pending is not known"));

    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    for command in [&["migrate"][..], &["resync", "--yes"]] {
        let said = bridge.run(command).await;
        assert_eq!(said.code, 0, "{command:?}: {}", said.err);
    }
    let there = "count(*) = 3 FROM traffic_scheduled_notifications WHERE status = 'pending'";
    assert!(holds(&world.traffic().await, there).await);
    assert!(!doctor(&bridge).await.contains("pending"));

    let bridge = bridge.configured("");
    landing(&world, "DROP TABLE scheduled_notifications").await;
    let said = bridge.run(&["doctor"]).await;
    assert!(said.out.contains("Landing has no scheduled_notifications"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_without_timestamps_goes_to_traffic_and_back() {
    let world = World::unmigrated().await;
    landing(
        &world,
        "ALTER TABLE scheduled_notifications ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL",
    )
    .await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    assert_eq!(bridge.run(&["migrate"]).await.code, 0);
    // The table of an earlier version, which the next migrate completes.
    traffic(
        &world,
        "ALTER TABLE traffic_scheduled_notifications ALTER created_at SET NOT NULL, ALTER updated_at SET NOT NULL;
         UPDATE leadbridge.migrations SET checksum = 'of an earlier version' WHERE name LIKE '019%'",
    )
    .await;
    assert_eq!(bridge.run(&["migrate"]).await.code, 0);
    world.fill(22, 4).await;
    let unstamped = "UPDATE scheduled_notifications SET created_at = NULL, updated_at = NULL";
    landing(&world, &format!("{PENDING}; {unstamped}")).await;
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
    landing(&world, &format!("{PENDING}; {unstamped}")).await;
    caught_up_and_equal(&world, &mut daemon).await;
    let there =
        "count(*) = 8 FROM traffic_scheduled_notifications WHERE created_at IS NULL AND updated_at IS NULL";
    assert!(holds(&world.traffic().await, there).await);
    assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.quarantine").await);

    let directory = bridge.dir().to_str().unwrap();
    let said = bridge.run(&["cutover", "--yes", "--json", "--certificate", directory]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    daemon.until("reverse replication begins", |status: &Value| status["state"] == "switched").await;
    traffic(&world, "UPDATE traffic_scheduled_notifications SET retry_count = 7").await;
    let back = "count(*) = 8 FROM scheduled_notifications WHERE retry_count = 7 AND created_at IS NULL AND updated_at IS NULL";
    until_holds(&world.landing().await, back).await;
    daemon.terminate().await;
}
