//! After a cutover Traffic is the system of record, and the direction is turned round.

use serde_json::Value;

use super::{LEAD, RICH, column, explained, lead};
use crate::cutover::CutoverSetup;
use crate::replication::reverse::switch::carried;
use crate::testkit::{landing, one, traffic};

fn reasons(lead: &Value) -> String {
    lead["reasons"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cutover_landing_is_compared_with_what_traffic_has() {
    let mut setup = CutoverSetup::switched_with(RICH).await;
    let (code, document) = explained(&setup.bridge, &[LEAD]).await;
    assert_eq!((code, document["system_of_record"].as_str()), (0, Some("traffic")), "{document:#}");
    assert_eq!(document["leads"][0]["verdict"], "equal", "{document:#}");

    traffic(
        &setup.world,
        &format!("UPDATE traffic_leads SET name = 'new', status = 'lost' WHERE id = '{LEAD}'"),
    )
    .await;
    carried(&setup.world, &mut setup.daemon).await;
    lead(&setup.bridge, &[LEAD], 0, "equal").await;
    let name: String =
        one(&setup.world.landing().await, &format!("SELECT name FROM landing_leads WHERE id = '{LEAD}'"))
            .await;
    assert_eq!(name, "new");

    // A number that does not follow from the phone has no place on Landing.
    traffic(&setup.world, &format!("UPDATE traffic_leads SET phone_normalized = '1' WHERE id = '{LEAD}'"))
        .await;
    carried(&setup.world, &mut setup.daemon).await;
    let found = lead(&setup.bridge, &[LEAD], 0, "equal").await;
    assert_eq!(
        column(&found, "phone_normalized")["reason"],
        "Traffic's value has no place on Landing",
        "{found:#}"
    );

    let own = "c0ffee00-0000-4000-8000-000000000002";
    traffic(
        &setup.world,
        &format!("INSERT INTO traffic_leads (id, name, phone) VALUES ('{own}', 'fb', '1')"),
    )
    .await;
    let found = lead(&setup.bridge, &[own], 0, "traffic_only").await;
    assert!(reasons(&found).contains("never goes to Landing"), "{found:#}");

    // Past the fence and past reverse replication.
    let damage = format!(
        "SET leadbridge.passes_fence = 'on'; SET session_replication_role = replica; UPDATE landing_leads SET name = 'damaged' WHERE id = '{LEAD}'"
    );
    landing(&setup.world, &damage).await;
    let found = lead(&setup.bridge, &[LEAD], 1, "different").await;
    assert!(reasons(&found).contains("Landing differs in name"), "{found:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_landing_refuses_after_a_cutover_is_in_the_quarantine_of_reverse_replication() {
    let mut setup = CutoverSetup::switched_with(RICH).await;
    landing(
        &setup.world,
        "ALTER TABLE landing_leads ADD CONSTRAINT short CHECK (length(name) < 50) NOT VALID",
    )
    .await;
    traffic(&setup.world, &format!("UPDATE traffic_leads SET name = repeat('n', 60) WHERE id = '{LEAD}'"))
        .await;
    carried(&setup.world, &mut setup.daemon).await;
    let found = lead(&setup.bridge, &[LEAD], 1, "quarantined").await;
    assert_eq!(found["reverse_quarantine"][0]["sqlstate"], "23514", "{found:#}");
    setup.daemon.terminate().await;
    traffic(&setup.world, "UPDATE traffic_leads SET name = 'short' WHERE length(name) > 50").await;
    let found = lead(&setup.bridge, &[LEAD], 1, "quarantined").await;
    assert!(reasons(&found).contains("Landing does not take traffic_leads"), "{found:#}");
    let other: uuid::Uuid = one(
        &setup.world.traffic().await,
        &format!("SELECT id FROM traffic_leads WHERE id <> '{LEAD}' LIMIT 1"),
    )
    .await;
    traffic(&setup.world, &format!("UPDATE traffic_leads SET name = 'later' WHERE id = '{other}'")).await;
    let found = lead(&setup.bridge, &[&other.to_string()], 1, "on_its_way").await;
    assert!(reasons(&found).contains("no daemon streams"), "{found:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_finish_a_lead_is_on_traffic_and_nothing_is_expected_of_landing() {
    let setup = CutoverSetup::switched_with(RICH).await;
    let CutoverSetup { world, bridge, daemon } = setup;
    daemon.terminate().await;
    let backup = bridge.dir().join("backup");
    let finish = ["finish", "--yes", "--max-behind", "1h", "--backup", backup.to_str().unwrap()];
    let finished = bridge.run(&finish).await;
    assert_eq!(finished.code, 0, "{}{}", finished.out, finished.err);
    traffic(&world, "UPDATE traffic_leads SET name = 'later'").await;
    lead(&bridge, &[LEAD], 0, "finished").await;
    let said = bridge.run(&["explain", LEAD]).await;
    assert!(said.code == 0 && said.out.contains("ended by `leadbridge finish`"), "{}{}", said.out, said.err);
    traffic(&world, &format!("DELETE FROM traffic_leads WHERE id = '{LEAD}'")).await;
    let only_on_landing = lead(&bridge, &[LEAD], 1, "extra").await;
    assert!(reasons(&only_on_landing).contains("on Landing, not on Traffic"), "{only_on_landing:#}");
}
