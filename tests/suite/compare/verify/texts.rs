//! Two values are equal when their texts are equal, for any equality operator of the type or the collation.

use crate::testkit::{Bridge, World, assert_equal, caught_up_and_equal, holds, landing, traffic};

/// Two leads with a journey entry each.
const ROWS: &str = "INSERT INTO landing_leads (name, phone, email, metadata)
        VALUES ('a', '1', 'small@x', '{\"sum\": 5}'), ('b', '2', 'small@x', '{\"sum\": 5}');
    INSERT INTO journey_stages (lead_id, stage, metadata) SELECT id, 's', '{\"n\": [1.0]}' FROM landing_leads";

/// Only the text of a number changes.
const SAME_NUMBERS: &str = "UPDATE landing_leads SET metadata = '{\"sum\": 5.00}';
    UPDATE journey_stages SET metadata = '{\"n\": [1]}'";

#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_json_that_is_written_otherwise_is_written_in_small_and_large_batches() {
    let world = World::new().await;
    // Landing's trigger would change updated_at besides.
    landing(&world, "ALTER TABLE landing_leads DISABLE TRIGGER USER").await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, ROWS).await;
    landing(&world, &format!("BEGIN; {SAME_NUMBERS}; COMMIT")).await;
    caught_up_and_equal(&world, &mut daemon).await;
    let large = "INSERT INTO landing_leads (name, phone, metadata)
        SELECT 'n', n::text, '{\"sum\": 1}' FROM generate_series(1, 300) AS n";
    landing(&world, large).await;
    caught_up_and_equal(&world, &mut daemon).await;
    landing(&world, "UPDATE landing_leads SET metadata = '{\"sum\": 1.0}'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_writes_what_differs_in_its_text_alone_and_a_comparison_is_equal_afterwards() {
    let world = World::new().await;
    landing(&world, ROWS).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let damage = "SET session_replication_role = replica;
        UPDATE traffic_leads SET metadata = '{\"sum\": 5.00}'; UPDATE traffic_lead_journey SET metadata = '{\"n\": [1]}'";
    traffic(&world, damage).await;
    let verified = bridge.run(&["verify", "--wait", "0s"]).await;
    assert_eq!(verified.code, 1, "{}", verified.out);
    let repaired = bridge.run(&["verify", "--repair"]).await;
    let said = "4 rows written as Landing has them, 0 deleted that it does not have, 0 found equal by now, 0 in quarantine";
    assert!(repaired.out.contains(said), "{}{}", repaired.out, repaired.err);
    assert_eq!(bridge.run(&["verify", "--wait", "0s"]).await.code, 0);
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_its_collation_takes_for_another_is_written() {
    let world = World::new().await;
    landing(&world, "ALTER TABLE landing_leads DISABLE TRIGGER USER").await;
    let collation =
        "CREATE COLLATION ignores_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        DROP VIEW v_traffic_leads_with_journey, v_traffic_leads_last_stage;
        ALTER TABLE traffic_leads ALTER email TYPE varchar(255) COLLATE ignores_case,
            ALTER landing_source TYPE text COLLATE ignores_case";
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    traffic(&world, collation).await;
    landing(&world, ROWS).await;
    caught_up_and_equal(&world, &mut daemon).await;
    landing(&world, "UPDATE landing_leads SET email = 'SMALL@x'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    // The same for a partial update without metadata.
    let toasted = "ALTER TABLE landing_leads ALTER metadata SET STORAGE EXTERNAL;
        UPDATE landing_leads SET source = 'word', metadata = jsonb_build_object('x', repeat('y', 9000))";
    landing(&world, toasted).await;
    landing(&world, "UPDATE landing_leads SET email = 'Small@x'").await;
    landing(&world, "UPDATE landing_leads SET source = 'Word'").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(
        holds(&world.traffic().await, "bool_and(landing_source COLLATE \"C\" = 'Word') FROM traffic_leads")
            .await
    );
    daemon.terminate().await;
}
