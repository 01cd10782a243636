//! The older shape of the databases, notifications, and passthrough columns.

use serde_json::json;

use super::{LEAD, RICH, column, differing, lead};
use crate::testkit::{Bridge, World, landing, traffic};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_landing_leaves_columns_to_traffic_and_has_its_notifications_explained() {
    let world = World::older().await;
    landing(
        &world,
        &format!(
            "INSERT INTO landing_leads (id, name, phone, email) VALUES ('{LEAD}', 'n', '8 701 1', 'old@example.kz');
             INSERT INTO lead_journey (lead_id, stage) VALUES ('{LEAD}', 's');
             INSERT INTO scheduled_notifications (lead_id, notification_type, scheduled_for)
             VALUES ('{LEAD}', 'both', now()), ('{LEAD}', 'sms', now())"
        ),
    )
    .await;
    let bridge = Bridge::new(&world).configured("scheduled_notifications = true");
    let migrated = bridge.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{}{}", migrated.out, migrated.err);
    bridge.catch_up().await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 9").await;
    for asked in ["old@example.kz", "87011"] {
        let found = lead(&bridge, &[asked, "--values"], 0, "touched_on_traffic").await;
        let clicks = column(&found, "click_count");
        assert_eq!((&clicks["equal"], &clicks["on_traffic"]), (&json!(null), &json!("9")), "{clicks}");
        assert!(clicks["rule"].as_str().unwrap().contains("Landing has no such column"), "{clicks}");
        let tables: Vec<_> = found["children"].as_array().unwrap().iter().map(|of| &of["table"]).collect();
        assert_eq!(tables, ["lead_journey", "scheduled_notifications"]);
        assert_eq!(found["children"][1]["on_traffic"], 2, "{found:#}");
        assert_eq!(found["children"][1]["rows"][0]["state"], "equal", "{found:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passthrough_column_is_explained_under_the_name_that_it_has_on_traffic() {
    let world = World::unmigrated().await;
    landing(&world, RICH).await;
    landing(&world, "UPDATE landing_leads SET sms_error = 'no route'").await;
    let bridge =
        Bridge::new(&world).configured("[columns.landing_leads]\nrename = { sms_error = \"site_error\" }");
    let migrated = bridge.run(&["migrate"]).await;
    assert_eq!(migrated.code, 0, "{}{}", migrated.out, migrated.err);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let found = lead(&bridge, &[LEAD], 0, "equal").await;
    let carried = column(&found, "site_error");
    assert_eq!((&carried["rule"], &carried["from"]), (&json!("sms_error, verbatim"), &json!("sms_error")));
    traffic(&world, "SET session_replication_role = replica; UPDATE traffic_leads SET site_error = 'x'")
        .await;
    assert_eq!(differing(&lead(&bridge, &[LEAD], 1, "different").await), ["site_error"]);
}
