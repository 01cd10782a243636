//! `leadbridge status`, the real binary, without a daemon.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::testkit::World;

fn command(landing: &str, traffic: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadbridge"));
    command
        .env_clear()
        .env("LANDING_DATABASE_URL", landing)
        .env("TRAFFIC_DATABASE_URL", traffic)
        .env("LEADBRIDGE_HTTP_LISTEN", "off")
        .args(arguments);
    command
}

/// Blocks for two seconds at most; the test has a thread of its own.
fn run(world: &World, arguments: &[&str]) -> Output {
    command(&world.landing_url(), &world.traffic_url(), arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A daemon's checkpoint, at Landing's present position.
async fn checkpoint(world: &World) {
    let lsn: String = {
        let row = world.landing().await.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await;
        row.unwrap().get(0)
    };
    let insert = format!(
        "INSERT INTO leadbridge.checkpoint (slot, publication, landing_system_id, landing_database, state, \
         applied_lsn, caught_up_at, run_id) VALUES ('leadbridge', 'leadbridge', '1', 'landing', 'streaming', \
         '{lsn}', now() - interval '1 hour', gen_random_uuid())"
    );
    world.traffic().await.batch_execute(&insert).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_migration_status_says_what_to_run() {
    let world = World::unmigrated().await;
    let output = run(&world, &["status", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let document = json(&output);
    assert_eq!(document["state"], "stopped");
    let remedy = document["last_error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("leadbridge migrate"), "{remedy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_daemon_down_the_lag_comes_from_the_checkpoint() {
    let world = World::new().await;
    checkpoint(&world).await;
    world.landing().await.batch_execute("SELECT pg_logical_emit_message(false, 'x', 'y')").await.unwrap();
    world.fill(1, 5).await;
    let output = run(&world, &["status", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let document = json(&output);
    assert_eq!((&document["state"], &document["daemon"]), (&"stopped".into(), &"down".into()));
    assert!(document["lag_bytes"].as_u64().unwrap() > 0, "{document}");
    assert!(document["lag_seconds"].as_f64().unwrap() >= 3600.0, "{document}");
    assert_eq!(document["lag_is_estimate"], true);
    assert_eq!(document["quarantined"], 0);

    let text = String::from_utf8(run(&world, &["status"]).stdout).unwrap();
    assert!(text.starts_with("state       STOPPED"), "{text}");
    assert!(text.contains("at most 1 h"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_exit_code_3_and_the_other_one_is_still_told() {
    let world = World::new().await;
    let output = command(
        "postgresql://u:geheim@127.0.0.1:1/landing",
        &world.traffic_url(),
        &["status", "--json", "--max-lag-bytes", "1KiB"],
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json(&output)["quarantined"], 0);
    assert_eq!(json(&output)["daemon"], "unknown");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("Landing DB") && errors.contains("what to do"), "{errors}");
    assert!(!errors.contains("geheim"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::unmigrated().await;
    let mut child = command(&world.landing_url(), &world.traffic_url(), &["doctor"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "as without the closed pipe");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["status", "--help"], 0),
        (&["nonsense"], 64),
        (&["status", "--max-lag-bytes", "many"], 64),
        (&[], 64),
    ] {
        let output = command("", "", arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    let output =
        command("postgresql://u:geheim@h:6543/d", "postgresql://u@h/d", &["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(!String::from_utf8(output.stderr).unwrap().contains("geheim"));
}
