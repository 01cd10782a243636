//! What a round finds, and where it is told.

use serde_json::json;

use super::{EAGER, LEAD, a_round, counts, gentle, stream, streaming, tamper};
use crate::testkit::{World, landing, least_privileged, one, traffic, until_true, writers_go_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_boolean_is_found_within_a_round_under_live_writers_and_told_everywhere() {
    let (world, bridge, mut daemon) = streaming(EAGER, 700).await;
    let writers = world.write(&gentle());
    writers_go_on(&world, 30).await;
    let status = a_round(&mut daemon).await;
    assert_eq!(status["verification"]["last"]["clean"], json!(true), "{status}");
    assert!(status["verification"]["last"]["rows"].as_u64().unwrap() > 700, "{status}");

    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    let status = a_round(&mut daemon).await;
    assert_eq!(counts(&status, "landing_leads"), [0, 0, 1], "{status}");
    assert_eq!(status["verification"]["differing"][0]["examples"], json!([LEAD]), "{status}");
    assert_eq!(status["verification"]["last"]["clean"], json!(false), "{status}");
    let metrics = daemon.get("/metrics").await.unwrap();
    let line = r#"leadbridge_verification_differing_rows{table="landing_leads"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    let said = crate::testkit::said(daemon.command(&bridge, &["status"])).await;
    assert!(said.out.contains("1 row of landing_leads differs"), "{}", said.out);
    assert!(!daemon.log().contains("Айгерим") && !said.out.contains("Айгерим"));

    // Landing's next change of the lead makes the row equal, and the difference is gone.
    landing(&world, &format!("UPDATE landing_leads SET name = 'x' WHERE id = '{LEAD}'")).await;
    daemon.until("the difference is gone", |status| counts(status, "landing_leads") == [0, 0, 0]).await;
    writers.stop().await.unwrap();
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_row_an_extra_row_and_a_journey_entry_are_found_and_stay_found_over_a_restart() {
    let settings = EAGER.replace("1ms", "1h");
    let (world, bridge, daemon) = streaming(&settings, 50).await;
    let entry = "00000000-0000-4000-8000-000000000009";
    tamper(
        &world,
        &format!(
            "UPDATE traffic_lead_journey SET stage = 'other' WHERE id = '{LEAD}'; \
             INSERT INTO traffic_leads (id, name, phone, email, landing_synced_at) \
             VALUES ('{entry}', 'n', 'p', 'e@e.kz', now()); \
             DELETE FROM traffic_leads WHERE id = (SELECT id FROM traffic_leads WHERE id <> '{LEAD}' \
             AND landing_synced_at IS NOT NULL AND id <> '{entry}' ORDER BY id DESC LIMIT 1)"
        ),
    )
    .await;
    daemon.terminate().await;
    // The first round may have ended before the rows were changed.
    traffic(&world, "UPDATE leadbridge.verification SET begun_at = '2000-01-01'").await;
    let mut daemon = bridge.daemon().await;
    let journey = world.names.landing_journey.clone();
    let found = |status: &serde_json::Value| {
        (counts(status, "landing_leads"), counts(status, &journey)) == ([1, 1, 0], [0, 0, 1])
    };
    daemon.until("the rows are found", found).await;
    daemon.until("the round ends", |status| status["verification"]["activity"] == "waiting").await;
    let round = daemon.status().await["verification"]["last"]["number"].clone();
    daemon.terminate().await;
    let mut daemon = bridge.daemon().await;
    let status = daemon.until("the rows are still found", found).await;
    assert_eq!(status["verification"]["last"]["number"], round, "no other round was needed: {status}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nobody_has_written_since_are_not_read_again_and_a_written_row_is() {
    let (world, _bridge, mut daemon) = streaming(EAGER, 400).await;
    a_round(&mut daemon).await;
    let before = a_round(&mut daemon).await["verification"]["rows_read"].as_u64().unwrap();
    let after = a_round(&mut daemon).await["verification"]["rows_read"].as_u64().unwrap();
    assert!(after - before < 20, "rows that nobody wrote were read again: {before} to {after}");

    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    let status = a_round(&mut daemon).await;
    assert_eq!(counts(&status, "landing_leads"), [0, 0, 1], "{status}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_a_trace_is_found_when_every_value_is_read_again() {
    let (world, bridge, mut daemon) = streaming(EAGER, 400).await;
    a_round(&mut daemon).await;
    daemon.terminate().await;
    tamper(&world, &format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'")).await;
    // As damage beneath PostgreSQL looks: the record says that the row was compared after it was changed.
    traffic(&world, "UPDATE leadbridge.verified_range SET traffic_xid = pg_current_xact_id()::text").await;
    let mut daemon = bridge.daemon().await;
    let status = a_round(&mut daemon).await;
    assert_eq!(status["verification"]["last"]["clean"], json!(true), "the cheap way sees no trace: {status}");
    daemon.terminate().await;
    let bridge = bridge.configured(&format!("{EAGER}full_every = \"1ms\"\n"));
    let mut daemon = bridge.daemon().await;
    let status = a_round(&mut daemon).await;
    assert_eq!(counts(&status, "landing_leads"), [0, 0, 1], "{status}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_read_again_after_its_time_although_nobody_wrote() {
    let (_world, _bridge, mut daemon) = streaming(&format!("{EAGER}full_every = \"1ms\"\n"), 400).await;
    a_round(&mut daemon).await;
    let before = a_round(&mut daemon).await["verification"]["rows_read"].as_u64().unwrap();
    let after = a_round(&mut daemon).await["verification"]["rows_read"].as_u64().unwrap();
    assert!(after - before > 400, "{before} to {after}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_of_least_privilege_are_enough() {
    let world = World::new().await;
    let bridge = least_privileged(&world).await.configured(super::REPAIRING);
    let mut daemon = stream(&world, &bridge, 30).await;
    tamper(&world, &format!("DELETE FROM traffic_lead_journey WHERE id = '{LEAD}'")).await;
    let sql = format!("SELECT count(*) FROM traffic_lead_journey WHERE id = '{LEAD}'");
    let client = world.traffic().await;
    until_true("the entry is there again", async || one::<i64>(&client, &sql).await == 1).await;
    let status = a_round(&mut daemon).await;
    assert_eq!(status["verification"]["last"]["clean"], json!(true), "{status}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_stays_open_while_many_rows_are_compared() {
    let (world, _bridge, mut daemon) = streaming(EAGER, super::MANY).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leadbridge background verify' \
               AND (state LIKE 'idle in transaction%' OR clock_timestamp() - xact_start > '20 s')";
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let rounds = super::ended_rounds(&daemon.status().await);
    let mut looked = 0;
    until_true("two rounds end", async || {
        assert_eq!(one::<i64>(&landing, sql).await, 0);
        assert_eq!(one::<i64>(&traffic, &sql.replace("idle in transaction%", "no such state")).await, 0);
        looked += 1;
        super::ended_rounds(&daemon.status().await) >= rounds + 2
    })
    .await;
    let ranges: i64 = one(&traffic, "SELECT count(*) FROM leadbridge.verified_range").await;
    assert!(ranges > 4, "{ranges} ranges, {looked} looks");
    daemon.terminate().await;
}
