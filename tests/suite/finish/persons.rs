//! A finish removes the copies of rows that leadbridge holds on Traffic, and names what no deletion reaches.

use serde_json::{Value, json};

use super::switched::{CUTOVER, switched};
use crate::testkit::{World, holds, traffic};

/// A note, a discarded row and a row of an aborted cutover, each with a person's phone.
async fn hold_copies(world: &World) {
    let sql = format!(
        "DELETE FROM leadbridge.conversion_notes;
         INSERT INTO leadbridge.conversion_notes (source_table, row_id, column_name, original, reason)
             SELECT 'landing_leads', id, 'amocrm_lead_id', '+7-701-0000042', 'not_a_number' FROM traffic_leads LIMIT 2;
         INSERT INTO leadbridge.quarantine (source_table, row_id, operation, sqlstate, message, row_data, discarded_at)
             VALUES ('landing_leads', gen_random_uuid(), 'insert', '22001', 'no', '{{\"phone\": \"+7-701-0000042\"}}', now());
         INSERT INTO leadbridge.left_on_traffic (cutover_id, traffic_table, row_id, image)
             VALUES ('{CUTOVER}', 'traffic_leads', gen_random_uuid(), '{{\"phone\": \"+7-701-0000042\"}}')"
    );
    traffic(world, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_removes_every_copy_on_traffic_and_says_what_outlives_a_deletion() {
    let (world, bridge) = switched(20).await;
    hold_copies(&world).await;
    let asked = bridge.run(&["finish"]).await;
    assert_ne!(asked.code, 0, "nobody has agreed");
    let client = world.traffic().await;
    assert!(holds(&client, "count(*) = 2 FROM leadbridge.conversion_notes").await);

    let said = bridge.run(&["finish", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let plan = "2 conversion notes, 1 discarded rows of the quarantine, 1 rows that an aborted cutover has left are deleted";
    assert!(said.err.contains(plan) && said.err.contains("--keep-notes"), "{}", said.err);
    for words in
        ["Persons: nothing follows a deletion", "Deleted from leadbridge's tables", "A file cannot follow"]
    {
        assert!(said.out.contains(words), "{words} is not in: {}", said.out);
    }
    for table in ["conversion_notes", "quarantine", "left_on_traffic"] {
        assert!(holds(&client, &format!("count(*) = 0 FROM leadbridge.{table}")).await, "{table}");
    }
    let again: Value = serde_json::from_str(&bridge.run(&["finish", "--json"]).await.out).unwrap();
    let removed = json!({"conversion_notes": 2, "quarantine": 1, "left_on_traffic": 1});
    assert_eq!((&again["copies_removed"], &again["notes_kept"]), (&removed, &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_keeps_the_notes_for_an_operator_who_says_so() {
    let (world, bridge) = switched(20).await;
    hold_copies(&world).await;
    let said = bridge.run(&["finish", "--yes", "--keep-notes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("2 conversion notes stay on Traffic"), "{}", said.out);
    let client = world.traffic().await;
    assert!(holds(&client, "count(*) = 2 FROM leadbridge.conversion_notes").await);
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.quarantine").await);
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.left_on_traffic").await);
    let again: Value = serde_json::from_str(&bridge.run(&["finish", "--json"]).await.out).unwrap();
    assert_eq!((&again["copies_removed"]["quarantine"], &again["notes_kept"]), (&json!(1), &json!(2)));
}
