//! What a cutover needs from outside, and the dry run tries.

use serde_json::Value;

use super::CutoverSetup;
use crate::testkit::{Bridge, World, landing, least_privileged, one, traffic};

/// The finding of a check, at the level and with the words.
async fn assert_found(setup: &CutoverSetup, check: &str, level: &str, words: &str) {
    let said = setup.cutover(&["--dry-run"]).await;
    let found: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
    assert_eq!(said.code, i32::from(found["ready"] == false), "{}{}", said.out, said.err);
    let is_it = |one: &Value| {
        one["check"] == check
            && one["level"] == level
            && one["message"].as_str().unwrap().contains(words)
            && one["remedy"].is_string()
    };
    assert!(found["findings"].as_array().unwrap().iter().any(is_it), "{check}: {words}: {found:#}");
    setup.assert_as_before().await;
}

#[tokio::test]
async fn a_free_walsender_on_traffic() {
    let world = World::with_settings(&[], &[("max_wal_senders", "0")]).await;
    let bridge = Bridge::new(&world);
    let setup = CutoverSetup::between(world, bridge).await;
    assert_found(&setup, "stream", "error", "max_wal_senders").await;
}

#[tokio::test]
async fn a_slot_on_traffic_for_which_no_old_transaction_has_to_end() {
    let setup = CutoverSetup::new().await;
    let holder = setup.world.traffic().await;
    holder.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let who = format!("process {} ", one::<i32>(&holder, "SELECT pg_backend_pid()").await);
    assert_found(&setup, "slot_creation", "warning", &who).await;
}

#[tokio::test]
async fn publications_that_send_everything() {
    let setup = CutoverSetup::new().await;
    traffic(&setup.world, "ALTER PUBLICATION leadbridge_reverse SET (publish = 'insert, update')").await;
    assert_found(&setup, "reverse_replication", "error", "every operation").await;
    let filtered = "ALTER PUBLICATION leadbridge_reverse SET (publish = 'insert, update, delete, truncate');
                    ALTER PUBLICATION leadbridge_reverse SET TABLE traffic_lead_journey, traffic_leads WHERE (id IS NOT NULL)";
    traffic(&setup.world, filtered).await;
    assert_found(&setup, "reverse_replication", "error", "traffic_leads").await;
}

#[tokio::test]
async fn the_rights_on_the_state_tables() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let setup = CutoverSetup::between(world, bridge).await;
    traffic(&setup.world, "REVOKE INSERT ON leadbridge.reverse FROM bridge").await;
    assert_found(&setup, "state_tables", "error", "INSERT on").await;
    traffic(&setup.world, "GRANT INSERT ON leadbridge.reverse TO bridge").await;
    landing(&setup.world, "REVOKE SELECT ON leadbridge.fence FROM bridge").await;
    assert_found(&setup, "state_tables", "error", "SELECT on").await;
}

#[tokio::test]
async fn a_fence_that_has_the_rights_of_the_tables_owner() {
    let setup = CutoverSetup::new().await;
    // The database's owner may own objects of leadbridge's schema, and need not own the tables.
    let former = "CREATE ROLE former; ALTER DATABASE landing OWNER TO former;
                  ALTER FUNCTION leadbridge.close_fence OWNER TO former";
    landing(&setup.world, former).await;
    assert_found(&setup, "fence", "error", "public.landing_leads").await;
}

#[tokio::test]
async fn tables_of_traffic_that_no_session_has_closed_to_readers() {
    let setup = CutoverSetup::new().await;
    let holder = setup.world.traffic().await;
    holder.batch_execute("BEGIN; LOCK TABLE traffic_leads IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let who = format!("process {} ", one::<i32>(&holder, "SELECT pg_backend_pid()").await);
    assert_found(&setup, "old_transactions", "error", &who).await;
}
