//! Rollbacks after which Landing sends many rows again.

use crate::cutover::CutoverSetup;
use crate::testkit::{holds, traffic};

async fn sends_again(rows: u32) {
    let more = format!(
        "INSERT INTO landing_leads (name, phone) SELECT 'n', '+7 701 ' || n FROM generate_series(1, {rows}) AS n"
    );
    let mut setup = CutoverSetup::switched_with(&more).await;
    // Landing has no null there.
    traffic(&setup.world, "UPDATE traffic_leads SET email_sent = NULL").await;
    setup.rolls_back(&["--max-pause", "50s", "--timeout", "59s", "--max-lag-seconds", "50"]).await;
    setup.assert_rolled_back().await;
    assert!(holds(&setup.world.traffic().await, "bool_and(email_sent IS NOT NULL) FROM traffic_leads").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_sent_again_in_several_transactions() {
    sends_again(10_001).await;
}

/// More rows than a comparison keeps the keys of.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make test-large"]
async fn any_number_of_rows_is_sent_again() {
    sends_again(100_001).await;
}
