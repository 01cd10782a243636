//! A rollback is refused for each failed condition, and nothing is changed.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cutover::CutoverSetup;
use crate::testkit::{World, landing, least_privileged, one, traffic, until_holds};

async fn assert_not_ready(setup: &CutoverSetup, more: &[&str], check: &str, words: &str) {
    let said = setup.rollback(more).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    let errors: Vec<&Value> =
        found["findings"].as_array().unwrap().iter().filter(|one| one["level"] == "error").collect();
    let named =
        errors.iter().any(|one| one["check"] == check && one["message"].as_str().unwrap().contains(words));
    assert!(named, "{check}: {words} is not in {errors:?}");
}

#[tokio::test]
async fn before_a_cutover() {
    let setup = CutoverSetup::new().await;
    assert_not_ready(&setup, &[], "state", "no cutover has switched").await;
}

#[tokio::test]
async fn without_a_daemon() {
    let mut setup = CutoverSetup::switched().await;
    setup.daemon.signal(Signal::SIGTERM);
    setup.daemon.ended(Duration::from_secs(20)).await;
    until_holds(&setup.world.traffic().await, "NOT bool_or(active) FROM pg_replication_slots").await;
    assert_not_ready(&setup, &[], "slot", "no session streams").await;
}

#[tokio::test]
async fn with_a_row_that_landing_cannot_take() {
    let mut setup = CutoverSetup::switched().await;
    landing(&setup.world, "ALTER TABLE landing_leads ADD CHECK (click_count < 1000) NOT VALID").await;
    traffic(&setup.world, "UPDATE traffic_leads SET click_count = 5000 WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)").await;
    until_holds(&setup.world.traffic().await, "count(*) = 1 FROM leadbridge.reverse_quarantine").await;
    assert_not_ready(&setup, &[], "quarantine", "1 rows of Traffic are in quarantine").await;
    setup.assert_still_switched().await;
}

#[tokio::test]
async fn with_a_transaction_that_holds_traffics_tables() {
    let mut setup = CutoverSetup::switched().await;
    let holder = setup.world.traffic().await;
    holder.batch_execute("BEGIN; INSERT INTO traffic_leads (name) VALUES ('n')").await.unwrap();
    let pid: i32 = one(&holder, "SELECT pg_backend_pid()").await;
    assert_not_ready(&setup, &[], "old_transactions", &format!("process {pid} ")).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.assert_still_switched().await;
}

#[tokio::test]
async fn with_a_landing_row_that_somebody_has_changed_behind_the_fence() {
    let mut setup = CutoverSetup::switched().await;
    let own = "SET leadbridge.passes_fence = on; UPDATE landing_leads SET name = 'x' WHERE id = (SELECT min(id::text)::uuid FROM landing_leads)";
    landing(&setup.world, own).await;
    assert_not_ready(&setup, &[], "verification", "1 rows differ").await;
    setup.assert_still_switched().await;
}

#[tokio::test]
async fn as_another_role_than_the_daemons() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let mut setup = CutoverSetup::between(world, bridge).await;
    setup.switches(&[]).await;
    setup.flows_back().await;
    let urls = [("LANDING_DATABASE_URL", "Landing DB"), ("TRAFFIC_DATABASE_URL", "Traffic DB")];
    for (at, (variable, side)) in urls.into_iter().enumerate() {
        let url = [setup.world.landing_url(), setup.world.traffic_url()];
        let mut command = setup.bridge.command(&setup.rollback_arguments(&[]));
        command.env(variable, &url[at]);
        let said = crate::testkit::said(command).await;
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        let message = format!("on the {side} the daemon is bridge, and this command is postgres");
        assert!(said.out.contains(&message) && said.out.contains(variable), "{}", said.out);
    }
    setup.rolls_back(&[]).await;
    setup.assert_rolled_back().await;
}

#[tokio::test]
async fn with_a_transaction_that_closes_landings_tables_to_writers() {
    let mut setup = CutoverSetup::switched().await;
    let holder = setup.world.landing().await;
    holder.batch_execute("BEGIN; LOCK TABLE landing_leads IN SHARE MODE").await.unwrap();
    let pid: i32 = one(&holder, "SELECT pg_backend_pid()").await;
    assert_not_ready(&setup, &[], "old_transactions", &format!("process {pid} ")).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    setup.assert_still_switched().await;
}

#[tokio::test]
async fn with_a_publication_on_landing_that_lacks_a_table() {
    let setup = CutoverSetup::switched().await;
    landing(&setup.world, "ALTER PUBLICATION leadbridge DROP TABLE journey_stages").await;
    assert_not_ready(&setup, &[], "forward_publication", "journey_stages").await;
}
