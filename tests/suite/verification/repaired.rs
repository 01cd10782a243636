//! Repairs through the stream's own applier.

use serde_json::json;

use super::{LEAD, REPAIRING, a_round, gentle, streaming, tamper};
use crate::testkit::{caught_up_and_equal, holds, landing, one, until_holds, until_true, writers_go_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_boolean_is_repaired_beside_live_writers_and_counted() {
    let (world, _bridge, mut daemon) = streaming(REPAIRING, 300).await;
    let writers = world.write(&gentle());
    writers_go_on(&world, 20).await;
    let client = world.traffic().await;
    let sent = format!("SELECT sms_sent FROM traffic_leads WHERE id = '{LEAD}'");
    let before: bool = one(&client, &sent).await;
    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    until_true("the value is back", async || one::<bool>(&client, &sent).await == before).await;
    daemon.until("it is counted", |status| status["verification"]["repaired"] == json!(1)).await;
    writers_go_on(&world, 20).await;
    writers.stop().await.unwrap();
    let status = a_round(&mut daemon).await;
    assert_eq!(status["verification"]["last"]["clean"], json!(true), "{status}");
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_lead_with_its_entry_and_an_extra_lead_are_repaired_and_traffics_own_values_stay() {
    let (world, _bridge, mut daemon) = streaming(REPAIRING, 40).await;
    let client = world.traffic().await;
    let extra = "00000000-0000-4000-8000-000000000009";
    let kept =
        "SELECT id::text FROM traffic_leads WHERE landing_synced_at IS NOT NULL ORDER BY id DESC LIMIT 1";
    let kept: String = one(&client, kept).await;
    tamper(
        &world,
        &format!(
            "DELETE FROM traffic_lead_journey WHERE lead_id = '{LEAD}'; DELETE FROM traffic_leads WHERE id = '{LEAD}'; \
             INSERT INTO traffic_leads (id, name, phone, email, landing_synced_at) \
             VALUES ('{extra}', 'n', 'p', 'e@e.kz', now()); \
             UPDATE traffic_leads SET status = 'contacted', click_count = 77 WHERE id = '{kept}'"
        ),
    )
    .await;
    until_holds(&client, &format!("EXISTS (SELECT FROM traffic_lead_journey WHERE id = '{LEAD}')")).await;
    until_holds(&client, &format!("NOT EXISTS (SELECT FROM traffic_leads WHERE id = '{extra}')")).await;
    until_holds(
        &client,
        &format!("EXISTS (SELECT FROM traffic_leads WHERE id = '{kept}' AND click_count <> 77)"),
    )
    .await;
    assert!(holds(&client, &format!("EXISTS (SELECT FROM traffic_leads WHERE id = '{LEAD}')")).await);
    let own = format!("EXISTS (SELECT FROM traffic_leads WHERE id = '{kept}' AND status = 'contacted')");
    assert!(holds(&client, &own).await, "what belongs to Traffic stays");
    assert!(holds(&client, "NOT EXISTS (SELECT FROM leadbridge.quarantine)").await);
    let status = a_round(&mut daemon).await;
    assert_eq!(status["verification"]["last"]["clean"], json!(true), "{status}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_differing_rows_than_the_bound_are_not_repaired_and_the_remedy_is_named() {
    let settings = format!("{REPAIRING}repair_rows = 5\n");
    let (world, bridge, mut daemon) = streaming(&settings, 60).await;
    tamper(&world, "UPDATE traffic_leads SET sms_sent = NOT sms_sent").await;
    let status = daemon
        .until("the round says why it repaired nothing", |status| {
            status["verification"]["last"]["not_repaired"].as_str().is_some_and(|why| why.contains("resync"))
        })
        .await;
    assert!(status["verification"]["last"]["differing"].as_u64().unwrap() > 5, "{status}");
    assert_eq!(status["verification"]["repaired"], json!(0), "{status}");
    let said = crate::testkit::said(daemon.command(&bridge, &["status"])).await;
    assert!(said.out.contains("[verify] repair_rows"), "{}", said.out);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_another_session_holds_does_not_hold_up_the_stream_and_is_repaired_later() {
    let (world, _bridge, mut daemon) = streaming(REPAIRING, 30).await;
    let client = world.traffic().await;
    let mut holder = world.traffic().await;
    let transaction = holder.transaction().await.unwrap();
    // The lock lets the row be changed, and not be locked by the repair.
    let lock = format!("SELECT sms_sent FROM traffic_leads WHERE id = '{LEAD}' FOR KEY SHARE");
    let right: bool = transaction.query_one(&lock, &[]).await.unwrap().get(0);
    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    a_round(&mut daemon).await;
    a_round(&mut daemon).await;
    landing(&world, "INSERT INTO landing_leads (name, phone, email) VALUES ('n', 'p9', 'p9@b.kz')").await;
    until_holds(&client, "EXISTS (SELECT FROM traffic_leads WHERE phone = 'p9')").await;
    let sent = format!("SELECT sms_sent FROM traffic_leads WHERE id = '{LEAD}'");
    assert_ne!(one::<bool>(&client, &sent).await, right, "a row that is held is left out");
    transaction.rollback().await.unwrap();
    until_true("the value is back", async || one::<bool>(&client, &sent).await == right).await;
    daemon.terminate().await;
}
