//! `leadbridge rollback`: back to Landing with the cutover's proofs, without loss.

mod forward_slot;
mod kills;
mod large;
mod locks;
mod nights;
mod publication;
mod refusals;

use leadbridge::throwaway::connect;
use serde_json::Value;

use crate::cutover::writers::{Home, LiveWriters, assert_holds, held};
use crate::cutover::{CLOSED, CutoverSetup, PATIENT, patiently};
use crate::testkit::{
    Said, World, assert_equal, caught_up_and_equal, holds, landing, least_privileged, one, traffic,
    until_holds,
};

/// A lead born on Landing.
const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";

impl CutoverSetup {
    /// Switched, with reverse replication running.
    pub async fn switched() -> CutoverSetup {
        let mut setup = CutoverSetup::new().await;
        setup.switches(&[]).await;
        setup.flows_back().await;
        setup
    }

    /// The same, with more rows on Landing than a filled world has.
    pub async fn switched_with(more: &str) -> CutoverSetup {
        let mut setup = CutoverSetup::new().await;
        landing(&setup.world, more).await;
        setup.daemon.caught_up(&setup.world).await;
        setup.switches(&["--max-pause", "30s", "--max-lag-seconds", "30"]).await;
        setup.flows_back().await;
        setup
    }

    pub async fn flows_back(&mut self) {
        self.daemon.until("reverse replication runs", |status| status["state"] == "switched").await;
        until_holds(&self.world.traffic().await, "bool_or(active) FROM pg_replication_slots").await;
    }

    pub fn rollback_arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let directory = self.bridge.dir().to_str().unwrap();
        [&["rollback", "--yes", "--json", "--certificate", directory], more].concat()
    }

    pub async fn rollback(&self, more: &[&str]) -> Said {
        self.bridge.run(&self.rollback_arguments(more)).await
    }

    pub async fn rolls_back(&self, more: &[&str]) -> Value {
        let said = self.rollback(&patiently(more)).await;
        assert_eq!(said.code, 0, "{}{}\n{}", said.out, said.err, self.daemon.log());
        serde_json::from_str(&said.out).unwrap()
    }

    /// Landing takes writes, Traffic refuses writes for now, and changes are streamed as before the cutover.
    pub async fn assert_rolled_back(&mut self) {
        let world = &self.world;
        let error = world.traffic().await.batch_execute("DELETE FROM traffic_leads").await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "55000");
        assert_eq!(error.message(), CLOSED);
        world.landing().await.batch_execute(LEAD).await.unwrap();
        let traffic = world.traffic().await;
        assert!(holds(&traffic, "bool_and(state = 'streaming') FROM leadbridge.checkpoint").await);
        assert!(holds(&traffic, "NOT EXISTS (SELECT FROM leadbridge.reverse)").await);
        until_holds(&traffic, "NOT EXISTS (SELECT FROM pg_replication_slots)").await;
        self.daemon.caught_up(&self.world).await;
        let said = self.bridge.run(&["verify"]).await;
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    }

    /// Traffic is still the system of record, and reverse replication runs.
    pub async fn assert_still_switched(&mut self) {
        self.assert_switched().await;
        let traffic = self.world.traffic().await;
        traffic
            .batch_execute(
                "SET lock_timeout = '5s'; BEGIN; INSERT INTO traffic_leads (name) VALUES ('n'); ROLLBACK",
            )
            .await
            .unwrap();
        self.flows_back().await;
    }
}

#[tokio::test]
async fn what_changed_on_traffic_is_on_landing_and_the_stream_goes_on_without_a_new_snapshot() {
    let mut setup = CutoverSetup::switched().await;
    traffic(
        &setup.world,
        "UPDATE traffic_leads SET name = 'Renamed', click_count = 41 WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads);
         INSERT INTO traffic_leads (id, name, phone, landing_source) VALUES ('11111111-1111-4111-8111-111111111111', 'Born there', '+7 702', 'twland');
         INSERT INTO traffic_lead_journey (lead_id, stage) VALUES ('11111111-1111-4111-8111-111111111111', 'payment_card')",
    )
    .await;
    let certificate = setup.rolls_back(&[]).await;
    assert_eq!(certificate["direction"], "rollback");
    assert_eq!(certificate["complete"], true, "{certificate}");
    for table in certificate["tables"].as_array().unwrap() {
        assert_eq!(table["differences"], 0, "{table}");
        assert_eq!(table["landing_keys"], table["traffic_keys"], "{table}");
    }
    let landing = setup.world.landing().await;
    assert!(
        holds(&landing, "count(*) = 1 FROM landing_leads WHERE name = 'Renamed' AND click_count = 41").await
    );
    let born = "count(*) = 1 FROM landing_leads JOIN journey_stages ON lead_id = landing_leads.id WHERE name = 'Born there'";
    assert!(holds(&landing, born).await);
    let before: Option<String> =
        one(&setup.world.traffic().await, "SELECT snapshot_time::text FROM leadbridge.checkpoint").await;
    setup.assert_rolled_back().await;
    let after: Option<String> =
        one(&setup.world.traffic().await, "SELECT snapshot_time::text FROM leadbridge.checkpoint").await;
    assert_eq!(before, after, "a new snapshot was taken");
    // The lead that was born on Traffic is Landing's now, and a delete on Landing deletes the lead.
    landing.batch_execute("DELETE FROM landing_leads WHERE name = 'Born there'").await.unwrap();
    setup.daemon.caught_up(&setup.world).await;
    assert!(
        holds(&setup.world.traffic().await, "count(*) = 0 FROM traffic_leads WHERE name = 'Born there'")
            .await
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_tables_too_large_are_proven_afterwards() {
    let mut setup = CutoverSetup::switched().await;
    let said = setup.rollback(&["--dry-run"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["ready"], true, "{found}");
    setup.assert_still_switched().await;
    let certificate = setup.rolls_back(&["--compare", "after"]).await;
    assert_eq!(certificate["complete"], true, "{certificate}");
    setup.assert_rolled_back().await;
}

#[tokio::test]
async fn traffics_fence_opens_by_itself_and_its_own_writers_go_on() {
    let mut setup = CutoverSetup::switched().await;
    setup.rolls_back(&["--refuse-for", "4s"]).await;
    let writer = setup.world.traffic().await;
    let own = "UPDATE traffic_leads SET status = 'qualified' WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)";
    assert_eq!(writer.batch_execute(own).await.unwrap_err().code().unwrap().code(), "55000");
    // The stream passes the position meanwhile.
    setup.world.landing().await.batch_execute(LEAD).await.unwrap();
    setup.daemon.caught_up(&setup.world).await;
    crate::testkit::until_true("the fence opens", async || writer.batch_execute(own).await.is_ok()).await;
}

/// Cutover, changes on Traffic, rollback, and a second cutover, with writers that never stop.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_exactly_once_through_cutover_rollback_and_cutover() {
    // On a busy machine the writers are seconds ahead, and an operator's default limits would refuse or undo the
    // cutover under test.
    let patient = [&PATIENT[..], &["--max-lag-seconds", "60"]].concat();
    let mut setup = CutoverSetup::new().await;
    let writers = LiveWriters::start(&setup);
    writers.go_on(300).await;
    setup.switches(&patient).await;
    writers.go_on(600).await;
    setup.flows_back().await;
    setup.rolls_back(&patient).await;
    writers.go_on(300).await;
    setup.daemon.streaming().await;
    setup.switches(&patient).await;
    writers.go_on(300).await;
    setup.flows_back().await;
    let (leads, errors) = writers.stop().await;
    for seen in &errors {
        // Landing refuses, and so does Traffic's fence of the rollback before, until the second switch is decided.
        assert!(seen.len() >= 3, "{seen:?}");
        assert!(seen.iter().all(|error| *error == format!("55000: {CLOSED}")), "{seen:?}");
    }
    let on_traffic = setup.world.traffic().await;
    assert_holds(&leads, held(&on_traffic, "traffic_leads", &leads).await, "Traffic");
    assert!(
        [Home::Landing, Home::Traffic].iter().all(|home| leads.iter().any(|lead| lead.inserted_on == *home))
    );
    // The same holds on Landing once reverse replication has caught up.
    setup.rolls_back(&patient).await;
    assert_holds(&leads, held(&setup.world.landing().await, "landing_leads", &leads).await, "Landing");
    setup.assert_rolled_back().await;
}

/// Uses roles of least privilege, because a superuser passes everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_resync_while_traffic_refuses_writers_after_a_rollback_passes_the_fence() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await;
    let mut setup = CutoverSetup::between(world, bridge).await;
    setup.switches(&[]).await;
    setup.flows_back().await;
    setup.rolls_back(&["--refuse-for", "1h"]).await;
    setup.daemon.streaming().await;
    let CutoverSetup { world, bridge, daemon } = setup;
    daemon.terminate().await;
    let client = world.traffic().await;
    // Rows for the copy to remove, and a table for the copy to fill by COPY, without its indexes.
    landing(&world, "DELETE FROM landing_leads WHERE left(id::text, 1) = '3'").await;
    let ours = connect(&world.traffic.url_as("bridge", "bridge", "traffic")).await.unwrap();
    ours.batch_execute("SET leadbridge.passes_fence = on; DELETE FROM public.traffic_lead_journey")
        .await
        .unwrap();
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(holds(&client, "count(*) = 1 FROM leadbridge.fence WHERE lifted_at IS NULL").await);
    assert_equal(&world).await;
    let said = bridge.run(&["verify", "--wait", "1s"]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    // Another role does not pass the fence: the command says so before copying, and begins when allowed.
    let another = "UPDATE leadbridge.fence SET writer = 'somebody' WHERE lifted_at IS NULL; DELETE FROM leadbridge.checkpoint";
    client.batch_execute(another).await.unwrap();
    landing(&world, "SELECT pg_drop_replication_slot('leadbridge')").await;
    std::fs::remove_dir_all(bridge.state_dir()).unwrap();
    let mut daemon = bridge.daemon().await;
    daemon.logs("lets only the role somebody pass").await;
    assert!(holds(&world.landing().await, "NOT EXISTS (SELECT FROM pg_replication_slots)").await);
    assert!(holds(&client, "NOT EXISTS (SELECT FROM leadbridge.checkpoint)").await);
    client
        .batch_execute("UPDATE leadbridge.fence SET lifted_at = now() WHERE lifted_at IS NULL")
        .await
        .unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}
