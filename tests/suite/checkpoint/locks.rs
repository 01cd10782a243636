//! Advisory locks are open to every role: a stranger who holds one of leadbridge's is named, with the way out, wherever
//! an operator looks, and replication goes on as soon as the lock is free.

use serde_json::Value;
use tokio_postgres::Client;

use crate::cutover::{CutoverSetup, PATIENT, standing_at};
use crate::replication::reverse::switch::{carried, switch};
use crate::testkit::{
    Bridge, Daemon, Said, World, assert_refused, caught_up_and_equal, holds, landing, least_privileged, one,
    said, stranger, traffic, until_holds,
};
use leadbridge::failpoint::Point;
use leadbridge::migrate::{MigrateOptions, Patience, migrate};

const LEASE: &str = "hashtextextended('leadbridge/leadbridge/leadbridge', 0)";
const DECISION: &str = "hashtextextended('leadbridge/leadbridge/leadbridge/cutover', 0)";
const COMMAND: &str = "hashtextextended('leadbridge/leadbridge/leadbridge/command', 0)";
const WRITE_LANDING: &str = "hashtextextended('leadbridge/leadbridge/leadbridge/reverse', 0)";

async fn pid(client: &Client) -> i32 {
    one(client, "SELECT pg_backend_pid()").await
}

async fn hold(client: &Client, key: &str) {
    client.batch_execute(&format!("SELECT pg_advisory_lock({key})")).await.unwrap();
}

/// What an operator does who follows the remedy.
async fn terminate(admin: &Client, pid: i32) {
    admin.batch_execute(&format!("SELECT pg_terminate_backend({pid})")).await.unwrap();
    until_holds(admin, &format!("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})")).await;
}

/// Waits until the daemon reports a holder, and returns the last error's message and remedy.
async fn held_up(daemon: &mut Daemon, holder: &str) -> [String; 2] {
    let held =
        |status: &Value| status["last_error"]["message"].as_str().is_some_and(|text| text.contains(holder));
    let status = daemon.until("the holder is named", held).await;
    assert_eq!(
        (&status["state"], &status["last_error"]["retrying"]),
        (&"error".into(), &true.into()),
        "{status}"
    );
    ["message", "remedy"].map(|part| status["last_error"][part].as_str().unwrap().to_owned())
}

async fn doctor_finding(bridge: &Bridge, side: &str) -> Value {
    let examined = bridge.run(&["doctor", "--json"]).await;
    let findings: Value = serde_json::from_str(&examined.out).unwrap();
    let ours = |one: &&Value| one["check"] == "advisory_locks" && one["side"] == side;
    findings["findings"].as_array().unwrap().iter().find(ours).expect("a finding").clone()
}

fn attention(said: &Said) -> String {
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    let status: Value = serde_json::from_str(&said.out).unwrap();
    status["attention"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_holds_the_lease_is_named_with_the_way_out_and_is_no_standby() {
    let world = World::new().await;
    world.fill(320, 10).await;
    let bridge = least_privileged(&world).await;
    let admin = world.traffic().await;
    let mut stranger = stranger(&world.traffic, "traffic").await;
    // A stranger may call itself what it likes, and may share the lock.
    for (name, lock) in [("app", "pg_advisory_lock"), ("leadbridge apply", "pg_advisory_lock_shared")] {
        let take = format!("SET application_name = '{name}'; SELECT {lock}({LEASE})");
        stranger.batch_execute(&take).await.unwrap();
        let pid = pid(&stranger).await;
        let mut daemon = bridge.daemon().await;
        let holder = format!("process {pid} of role stranger, application '{name}'");
        let [message, remedy] = held_up(&mut daemon, &holder).await;
        assert!(message.contains("the lease of the daemon"), "{message}");
        assert!(remedy.contains(&format!("SELECT pg_terminate_backend({pid}), as stranger")), "{remedy}");
        daemon.logs(&holder).await;
        let status = said(daemon.command(&bridge, &["status"])).await;
        assert!(status.code == 2 && status.out.contains("ATTENTION"), "{}", status.out);
        assert!(
            status.out.contains(&holder) && status.out.contains("pg_terminate_backend"),
            "{}",
            status.out
        );
        let finding = doctor_finding(&bridge, "traffic").await;
        assert_eq!(finding["level"], "error");
        assert!(finding["message"].as_str().unwrap().contains(&holder), "{finding}");
        let elsewhere = Bridge::new(&world);
        assert_refused(&elsewhere.run(&["resync", "--yes"]).await, &[&holder, "pg_terminate_backend"]);
        terminate(&admin, pid).await;
        caught_up_and_equal(&world, &mut daemon).await;
        let status = said(daemon.command(&bridge, &["status", "--json"])).await;
        assert_eq!(status.code, 0, "{}", status.out);
        daemon.terminate().await;
        stranger = leadbridge::throwaway::connect(&world.traffic.url_as("stranger", "stranger", "traffic"))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_holds_the_lease_is_named_with_the_way_out() {
    let world = World::with_settings(&[], &[("max_prepared_transactions", "2")]).await;
    world.fill(321, 10).await;
    let bridge = least_privileged(&world).await;
    let stranger = stranger(&world.traffic, "traffic").await;
    let prepare = format!("BEGIN; SELECT pg_advisory_xact_lock({LEASE}); PREPARE TRANSACTION 'it''s mine'");
    stranger.batch_execute(&prepare).await.unwrap();
    let mut daemon = bridge.daemon().await;
    let [_, remedy] = held_up(&mut daemon, "prepared transaction it's mine of role stranger").await;
    let (_, statement) = remedy.split_once("ROLLBACK PREPARED").unwrap();
    let (name, _) = statement.split_once(',').unwrap();
    stranger.batch_execute(&format!("ROLLBACK PREPARED {name}")).await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_names_the_daemon_that_replicates() {
    let world = World::new().await;
    world.fill(322, 10).await;
    let (first, second) = (Bridge::new(&world), Bridge::new(&world));
    let mut replicates = first.daemon().await;
    replicates.streaming().await;
    let mut waits = second.daemon().await;
    let apply = "SELECT pid FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
                 AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)";
    let holder: i32 = one(&world.traffic().await, apply).await;
    let status = waits.until("it stands by", |status| status["state"] == "standby").await;
    assert_eq!(status["lease_holder"]["pid"], holder, "{status}");
    assert_eq!(status["lease_holder"]["is_leadbridge"], true, "{status}");
    let said = said(waits.command(&second, &["status"])).await;
    assert!(
        said.code == 0 && said.out.contains(&format!("held by process {holder} of role postgres")),
        "{}",
        said.out
    );
    let finding = doctor_finding(&first, "traffic").await;
    assert_eq!(finding["level"], "ok", "{finding}");
    assert!(finding["message"].as_str().unwrap().contains(&format!("process {holder}")), "{finding}");
    replicates.terminate().await;
    caught_up_and_equal(&world, &mut waits).await;
    assert!(waits.status().await["lease_holder"].is_null());
    waits.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_holds_a_lock_of_the_cutover_is_named_by_the_command_and_by_status() {
    let setup = CutoverSetup::new().await;
    for (of_landing, key) in [(false, DECISION), (true, COMMAND)] {
        let (cluster, database) = match of_landing {
            true => (&setup.world.landing, "landing"),
            false => (&setup.world.traffic, "traffic"),
        };
        let stranger = stranger(cluster, database).await;
        hold(&stranger, key).await;
        let holder = format!("process {} of role stranger", pid(&stranger).await);
        let refused = setup.cutover(&["--dry-run"]).await;
        assert_refused(&refused, &[&holder, "pg_terminate_backend"]);
        let status = said(setup.daemon.command(&setup.bridge, &["status", "--json"])).await;
        assert!(attention(&status).contains(&holder), "{}", status.out);
        let finding = doctor_finding(&setup.bridge, database).await;
        assert!(
            finding["level"] == "error" && finding["message"].as_str().unwrap().contains(&holder),
            "{finding}"
        );
        terminate(&cluster.connect(database).await.unwrap(), pid(&stranger).await).await;
    }
    setup.switches(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_keep_the_fence_of_an_aborted_cutover_closed() {
    let setup = CutoverSetup::new().await;
    let arguments = setup.arguments(&PATIENT);
    let mut command = standing_at(&setup.bridge, &arguments, Point::CutoverKept).await;
    let id: uuid::Uuid = one(&setup.world.traffic().await, "SELECT id FROM leadbridge.cutover").await;
    let stranger = stranger(&setup.world.landing, "landing").await;
    // Every role can read the id in the names of the fence's triggers.
    let told =
        format!("count(*) > 0 FROM pg_trigger WHERE tgname LIKE 'leadbridge%{id}%' OR tgargs LIKE '%{id}%'");
    assert!(holds(&stranger, &told).await);
    hold(&stranger, &format!("hashtextextended('leadbridge/fence/{id}', 0)")).await;
    command.start_kill().unwrap();
    command.wait().await.unwrap();
    setup.settled().await;
    landing(&setup.world, "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_holds_the_right_to_decide_is_named_while_a_cutover_waits_to_be_aborted() {
    let mut setup = CutoverSetup::new().await;
    let mut command = standing_at(&setup.bridge, &setup.arguments(&PATIENT), Point::CutoverPrepared).await;
    let stranger = stranger(&setup.world.traffic, "traffic").await;
    // The stranger waits for the lock, and gets it before anybody else.
    let pid = pid(&stranger).await;
    let waiting = tokio::spawn(async move {
        hold(&stranger, DECISION).await;
        stranger
    });
    let waits =
        format!("EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND locktype = 'advisory' AND NOT granted)");
    let admin = setup.world.traffic().await;
    until_holds(&admin, &waits).await;
    command.start_kill().unwrap();
    command.wait().await.unwrap();
    let _stranger = waiting.await.unwrap();
    let holder = format!("process {pid} of role stranger");
    let named =
        |status: &Value| status["last_error"]["message"].as_str().is_some_and(|text| text.contains(&holder));
    setup.daemon.until("the holder is named", named).await;
    setup.daemon.logs(&holder).await;
    terminate(&admin, pid).await;
    setup.settled().await;
    setup.daemon.until("the error is over", |status| status["last_error"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_holds_the_right_to_write_to_landing_is_named_after_the_switch() {
    let world = World::new().await;
    world.fill(323, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let stranger = stranger(&world.landing, "landing").await;
    hold(&stranger, WRITE_LANDING).await;
    let pid = pid(&stranger).await;
    let mut daemon = bridge.daemon().await;
    let holder = format!("process {pid} of role stranger");
    let [_, remedy] = held_up(&mut daemon, &holder).await;
    assert!(remedy.contains("on the Landing DB: SELECT pg_terminate_backend"), "{remedy}");
    let status = said(daemon.command(&bridge, &["status", "--json"])).await;
    assert!(attention(&status).contains(&holder), "{}", status.out);
    terminate(&world.landing().await, pid).await;
    traffic(&world, "UPDATE traffic_leads SET click_count = 4").await;
    carried(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_advisory_lock_of_a_stranger_holds_up_a_batch_or_a_retry() {
    let world = World::new().await;
    world.fill(324, 10).await;
    let bridge = Bridge::new(&world);
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES (repeat('n', 300), '+7')").await;
    let mut daemon = bridge.daemon().await;
    daemon.until("the row is quarantined", |status| status["quarantined"] == 1).await;
    let stranger = stranger(&world.traffic, "traffic").await;
    // The lock of an earlier version.
    hold(&stranger, "hashtextextended('\"leadbridge\".\"quarantine\"', 0)").await;
    landing(&world, "UPDATE landing_leads SET click_count = 5").await;
    daemon.caught_up(&world).await;
    assert_eq!(bridge.run(&["quarantine", "retry"]).await.code, 1);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_holds_the_lock_of_migrations_is_named() {
    let world = World::unmigrated().await;
    let stranger = stranger(&world.traffic, "traffic").await;
    hold(&stranger, "hashtext('leadbridge migrate')::bigint").await;
    let quick = std::time::Duration::from_millis(100);
    let patience = Patience { lock_timeout: quick, retries: 1, pause: quick };
    let options = MigrateOptions { patience, ..MigrateOptions::default() };
    let (mut landing, mut traffic) = (world.landing().await, world.traffic().await);
    let error = migrate(&mut landing, &mut traffic, &world.names, &options).await.unwrap_err();
    let holder = format!("process {} of role stranger", pid(&stranger).await);
    let remedy = error.remedy_text().unwrap();
    assert!(remedy.contains(&holder) && remedy.contains("pg_terminate_backend"), "{remedy}");
}
