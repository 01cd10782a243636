//! Causes other than a stop: a lag, a certificate, an aborted cutover, a state for an operator, the daily line.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use super::{TOO_LONG, events, told, told_by_webhook};
use crate::cutover::CutoverSetup;
use crate::testkit::{Bridge, WebServer, World, caught_up_and_equal, holds, landing, traffic, until_true};
use crate::verification::{EAGER, LEAD, stream, tamper};

#[tokio::test(flavor = "multi_thread")]
async fn a_lag_above_its_limit_is_told_with_both_figures_and_its_end() {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook(Bridge::new(&world), &webhook, "max_lag_seconds = 1.0");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let holder = world.traffic().await;
    holder.batch_execute("BEGIN; LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '1')").await;
    let text = told(&webhook, "begun", "lag").await;
    assert!(text.contains("Traffic is ") && text.contains("of WAL) behind Landing"), "{text}");
    holder.batch_execute("COMMIT").await.unwrap();
    told(&webhook, "over", "lag").await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_either_side_near_its_end_is_told_with_its_day() {
    for (of, other) in
        [("landing_certificate", "traffic_certificate"), ("traffic_certificate", "landing_certificate")]
    {
        let world = World::new().await;
        let webhook = WebServer::start().await;
        let (mut landing_url, mut traffic_url) = (world.landing_url(), world.traffic_url());
        let (server, url) = match of {
            "landing_certificate" => (&world.landing, &mut landing_url),
            _ => (&world.traffic, &mut traffic_url),
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let end = std::time::SystemTime::now() + Duration::from_secs(5 * 24 * 3600 + 3600);
        params.not_after = end.into();
        let certificate = params.self_signed(&key).unwrap();
        server.install("server.crt", certificate.pem().as_bytes()).unwrap();
        server.install("server.key", key.serialize_pem().as_bytes()).unwrap();
        let client = server.connect("postgres").await.unwrap();
        client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        server.reload();
        *url = url.replace("sslmode=disable", "sslmode=require");
        let bridge = told_by_webhook(Bridge::between(&landing_url, &traffic_url), &webhook, "");
        until_true("the server speaks TLS", async || bridge.run(&["status"]).await.code != 3).await;
        let daemon = bridge.daemon().await;
        let text = told(&webhook, "begun", of).await;
        let day = jiff::Timestamp::try_from(end).unwrap().strftime("%Y-%m-%d").to_string();
        assert!(text.contains(&format!("ends in 5 days, on {day}")), "{text}");
        assert_eq!(events(&webhook, other), [""; 0], "the other side has no TLS here");
        daemon.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_may_be_lost_is_told_and_its_end() {
    let settings =
        [("max_slot_wal_keep_size", "16MB"), ("checkpoint_timeout", "1h"), ("max_wal_size", "4GB")];
    let world = World::with_settings(&settings, &[]).await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook(Bridge::new(&world), &webhook, "");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let holder = world.traffic().await;
    holder.batch_execute("BEGIN; LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '1')").await;
    landing(
        &world,
        "CREATE TABLE ballast AS SELECT repeat(md5(n::text), 100) FROM generate_series(1, 20000) AS n",
    )
    .await;
    let text = told(&webhook, "begun", "slot_in_danger").await;
    assert!(text.contains("slot"), "{text}");
    holder.batch_execute("COMMIT").await.unwrap();
    daemon.caught_up(&world).await;
    let client = world.landing().await;
    until_true("the slot lets go", async || {
        // Creating another slot makes the server record the slot's restart position, which otherwise happens after a while.
        let other = "SELECT pg_create_logical_replication_slot('other', 'pgoutput'); SELECT pg_drop_replication_slot('other')";
        client.batch_execute(other).await.unwrap();
        holds(&client, "bool_and(wal_status IN ('reserved', 'extended')) FROM pg_replication_slots").await
    })
    .await;
    told(&webhook, "over", "slot_in_danger").await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_landing_refuses_after_the_switch_is_told() {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook(Bridge::new(&world), &webhook, "");
    let setup = CutoverSetup::between(world, bridge).await;
    landing(&setup.world, "ALTER TABLE landing_leads ADD CHECK (name <> 'geheim') NOT VALID").await;
    setup.switches(&[]).await;
    let one =
        "UPDATE traffic_leads SET name = 'geheim' WHERE id = (SELECT min(id::text)::uuid FROM traffic_leads)";
    traffic(&setup.world, one).await;
    let text = told(&webhook, "begun", "reverse_quarantine").await;
    assert!(!text.contains("geheim") && text.contains("What to do: "), "{text}");
    setup.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_told_with_what_to_do_and_again_when_it_is_gone() {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook(Bridge::new(&world), &webhook, EAGER);
    let daemon = stream(&world, &bridge, 30).await;
    let flip = format!("UPDATE traffic_leads SET sms_sent = NOT sms_sent WHERE id = '{LEAD}'");
    tamper(&world, &flip).await;
    let text = told(&webhook, "begun", "difference").await;
    assert!(text.contains("1 row ") && text.contains("leadbridge verify"), "{text}");
    tamper(&world, &flip).await;
    told(&webhook, "over", "difference").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_cutover_and_the_hook_that_it_left_are_told() {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = told_by_webhook(Bridge::new(&world), &webhook, "");
    let setup = CutoverSetup::between(world, bridge).await;
    let said = setup.cutover(&["--hook", "test $LEADBRIDGE_EVENT = check"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    let aborted = |body: &serde_json::Value| body["event"] == "aborted";
    until_true("the abort is told", async || webhook.taken().iter().any(aborted)).await;
    let text = webhook.taken().iter().find(|body| aborted(body)).unwrap()["text"].to_string();
    assert!(text.contains("cutover aborted") && text.contains("Reason: "), "{text}");
    let text = told(&webhook, "begun", "needs_operator").await;
    assert!(
        text.contains("was aborted after its hook had begun") && text.contains("--hook-settled"),
        "{text}"
    );
    assert_eq!(webhook.taken().iter().filter(|body| aborted(body)).count(), 1);
    setup.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_line_says_that_all_is_well_or_what_stands() {
    let world = World::new().await;
    let webhook = WebServer::start().await;
    let bridge = Bridge::new(&world);
    let path = bridge.dir().join("webhook");
    std::fs::write(&path, webhook.url("/hook")).unwrap();
    let path = path.display();
    let bridge = bridge
        .configured(&format!("[alert]\nafter = '300ms'\ndaily_at = '06:00'\nwebhook_url_file = '{path}'"));
    bridge.catch_up().await;
    // The last line was sent long ago, so that the next is due.
    let due = || {
        let record =
            r#"{"format":1,"standing":[],"daily":"2020-01-01T00:00:00Z","aborted":null,"running":null}"#;
        std::fs::write(bridge.state_dir().join("alerts.json"), record).unwrap();
    };
    let daily = |from: usize| webhook.taken().into_iter().filter(|body| body["event"] == "daily").nth(from);
    due();
    let mut daemon = bridge.daemon().await;
    until_true("the daily line", async || daily(0).is_some()).await;
    let text = daily(0).unwrap()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("[leadbridge] daily: "), "{text}");
    daemon.streaming().await;
    daemon.terminate().await;
    let mut again = bridge.daemon().await;
    again.streaming().await;
    landing(&world, TOO_LONG).await;
    told(&webhook, "begun", "quarantine").await;
    again.terminate().await;
    assert!(daily(1).is_none(), "the line of a day is sent once");
}
