//! The survival clock, and who blocks.

use std::time::Duration;

use serde_json::Value;

use super::metrics::scrape;
use crate::testkit::{Bridge, Daemon, World, landing, one, said, within};

/// WAL that no table sees.
const WAL: &str =
    "SELECT pg_logical_emit_message(false, 'other', repeat('x', 200000)); SELECT pg_switch_wal()";

/// Waits until the status is as wanted, while Landing writes WAL. The growth of a slot's WAL is told after half a minute
/// at the earliest.
async fn until_written(world: &World, daemon: &Daemon, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let client = world.landing().await;
    within(Duration::from_secs(120), what, async || {
        client
            .batch_execute("SELECT pg_logical_emit_message(false, 'other', repeat('x', 20000))")
            .await
            .unwrap();
        daemon.asked().await.filter(&wanted)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_apply_is_held_up_status_tells_the_survival_the_trend_and_the_blocking_session() {
    let limit = [("max_slot_wal_keep_size", "1GB")];
    let world = World::with_settings(&limit, &[]).await;
    world.fill(84, 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let well = until_written(&world, &daemon, "the rate is known", |status| status["rate"].is_object()).await;
    assert_eq!(well["slot"]["limit_bytes"], 1_u64 << 30, "{well}");
    let safe = well["survival"]["safe_bytes"].as_u64().unwrap();
    // PostgreSQL counts whole segments of 16 MB.
    assert!((1 << 29..(1 << 30) + (32 << 20)).contains(&safe), "{well}");
    assert_eq!(well["blocked_by"], Value::Array(Vec::new()), "{well}");

    let mut locker = world.traffic().await;
    locker.batch_execute("SET application_name = 'nightly report'").await.unwrap();
    let pid: i32 = one(&locker, "SELECT pg_backend_pid()").await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    let held = until_written(&world, &daemon, "the slot fills and the lag rises", |status| {
        status["survival"]["state"] == "filling"
            && status["trend"]["direction"] == "rising"
            && status["catch_up"]["state"] == "falling_behind"
    })
    .await;
    let survival = &held["survival"];
    let (left, growth) =
        (survival["seconds_left"].as_f64().unwrap(), survival["growth_bytes_per_second"].as_f64().unwrap());
    let safe = survival["safe_bytes"].as_f64().unwrap();
    assert!(growth > 0.0 && (left * growth - safe).abs() < 1.0, "{held}");
    assert!(held["rate"]["wal_bytes_per_second"].as_f64() > Some(0.0), "{held}");
    let blocked = &held["blocked_by"][0];
    assert_eq!((&blocked["pid"], &blocked["side"]), (&pid.into(), &"traffic".into()), "{held}");
    assert_eq!(blocked["application_name"], "nightly report");
    assert!(
        blocked["waited_seconds"].as_f64() >= Some(1.0) && blocked["transaction_seconds"].is_number(),
        "{held}"
    );
    assert!(!held.to_string().contains("LOCK TABLE"), "no query is shown: {held}");
    let metrics = scrape(&daemon).await;
    assert_eq!(metrics.value("leadbridge_blocking_sessions", &[]), Some(1.0));
    assert!(
        metrics.value("leadbridge_slot_survival_seconds", &[("direction", "forward")]).unwrap().is_finite()
    );

    let text = said(daemon.command(&bridge, &["status"])).await.out;
    let blocker = format!("BLOCKED     by process {pid} of role postgres, application nightly report");
    for words in
        ["the limit of 1.0 GiB is reached in", "catching up: never at this rate", ", rising by ", &blocker]
    {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    lock.rollback().await.unwrap();
    daemon.caught_up(&world).await;
    daemon.until("nobody blocks", |status| status["blocked_by"] == Value::Array(Vec::new())).await;
    daemon.terminate().await;
}

/// Nobody has a history then, so `status` looks twice.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_status_takes_the_survival_from_two_looks() {
    let world = World::with_settings(&[("max_slot_wal_keep_size", "1GB")], &[]).await;
    world.fill(85, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let client = world.landing().await;
    let writing = tokio::spawn(async move {
        loop {
            client.batch_execute(WAL).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let json: Value = serde_json::from_str(&bridge.run(&["status", "--json"]).await.out).unwrap();
    assert_eq!((&json["daemon"], &json["survival"]["state"]), (&"down".into(), &"filling".into()), "{json}");
    let rate = json["rate"]["wal_bytes_per_second"].as_f64().unwrap();
    assert!(rate > 0.0 && json["survival"]["growth_bytes_per_second"].as_f64() == Some(rate), "{json}");
    assert_eq!(
        (&json["trend"], &json["catch_up"], &json["rate"]["rows_per_second"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let text = bridge.run(&["status"]).await.out;
    assert!(text.contains("is reached in") && text.contains("unless a daemon starts"), "{text}");
    assert!(text.contains("Landing writes "), "{text}");
    writing.abort();

    landing(&world, "ALTER SYSTEM SET max_slot_wal_keep_size = -1").await;
    landing(&world, "SELECT pg_reload_conf()").await;
    let text = bridge.run(&["status"]).await.out;
    assert!(text.contains("Landing sets no max_slot_wal_keep_size"), "{text}");
}
