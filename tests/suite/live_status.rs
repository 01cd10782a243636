//! `leadbridge status` while a daemon copies, streams, is down, or is behind.

use serde_json::Value;

use crate::testkit::{Bridge, Daemon, World, brake, release_brake, said};

async fn status(daemon: &Daemon, bridge: &Bridge, arguments: &[&str]) -> (i32, Value) {
    let arguments = [&["status", "--json"], arguments].concat();
    let said = said(daemon.command(bridge, &arguments)).await;
    (said.code, serde_json::from_str(&said.out).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_of_snapshot_stream_lag_and_a_daemon_that_is_down() {
    let world = World::new().await;
    let filled = world.fill(50, 400).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 20");
    brake(&world, 0.2).await;
    let mut daemon = bridge.daemon().await;
    let copied = |status: &Value| status["snapshot"][0]["rows_done"].as_u64() > Some(0);
    daemon.until("rows are copied", copied).await;
    let (code, copying) = status(&daemon, &bridge, &[]).await;
    assert_eq!((code, &copying["state"]), (0, &"snapshot".into()), "{copying}");
    let leads = &copying["snapshot"][0];
    assert_eq!((&leads["table"], &leads["rows_expected"]), (&"landing_leads".into(), &filled.leads.into()));
    assert!(leads["rows_done"].as_u64() < Some(filled.leads), "{copying}");
    assert!(daemon.get("/readyz").await.unwrap() != "ready\n");
    release_brake(&world).await;

    daemon.streaming().await;
    daemon.caught_up(&world).await;
    daemon.until("no lag", |status| status["lag_bytes"] == 0).await;
    let (code, streaming) =
        status(&daemon, &bridge, &["--max-lag-bytes", "0", "--max-lag-seconds", "0"]).await;
    assert_eq!((code, &streaming["state"]), (0, &"streaming".into()), "{streaming}");
    assert_eq!(streaming["lag_seconds"], 0.0);
    assert_eq!(
        (&streaming["slot"]["active"], &streaming["slot"]["name"]),
        (&true.into(), &"leadbridge".into())
    );
    assert_eq!(streaming["snapshot"][1]["rows_done"], filled.stages);
    assert_eq!(daemon.get("/readyz").await.unwrap(), "ready\n");

    // Somebody holds the table on Traffic: the lag grows, and is told.
    let mut locker = world.traffic().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    world.landing().await.batch_execute("UPDATE landing_leads SET click_count = 1").await.unwrap();
    daemon.until("the lag is seen", |status| status["lag_seconds"].as_f64() > Some(1.0)).await;
    assert_eq!(status(&daemon, &bridge, &["--max-lag-seconds", "1"]).await.0, 1);
    assert_eq!(status(&daemon, &bridge, &["--max-lag-bytes", "1"]).await.0, 1);
    assert_eq!(status(&daemon, &bridge, &["--max-lag-seconds", "1000"]).await.0, 0);
    lock.rollback().await.unwrap();
    daemon.caught_up(&world).await;
    daemon.until("the lag is gone", |status| status["lag_bytes"] == 0).await;

    daemon.kill().await;
    world.landing().await.batch_execute("UPDATE landing_leads SET click_count = 2").await.unwrap();
    let down = bridge.run(&["status", "--json"]).await;
    assert_eq!(down.code, 2, "{}", down.err);
    let down: Value = serde_json::from_str(&down.out).unwrap();
    assert_eq!((&down["state"], &down["daemon"]), (&"stopped".into(), &"down".into()), "{down}");
    assert!(down["lag_bytes"].as_u64() > Some(0) && down["lag_is_estimate"] == true, "{down}");
    assert_eq!(down["slot"]["active"], false);
}
