//! `leadbridge status` while a daemon copies, streams, is down, or is behind.

use serde_json::Value;

use crate::testkit::{Bridge, Daemon, World, brake, record_form, release_brake, said};

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
    assert_eq!(streaming["snapshot"][1]["rows_done"], filled.journey_entries);
    assert_eq!(daemon.get("/readyz").await.unwrap(), "ready\n");

    // A session locks the table on Traffic: the lag grows, and the status shows the lag.
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

async fn asked(bridge: &Bridge, environment: &[(&str, &str)]) -> (i32, Value) {
    let mut command = bridge.command(&["status", "--json"]);
    command.envs(environment.iter().copied());
    let said = said(command).await;
    (said.code, serde_json::from_str(&said.out).unwrap())
}

/// A person alarmed by a daemon that is down runs `status`, on any machine, even while a database is down too.
#[tokio::test(flavor = "multi_thread")]
async fn why_a_run_ended_is_shown_until_a_later_one_streams() {
    let world = World::new().await;
    world.fill(51, 30).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    assert_eq!(asked(&bridge, &[]).await.1["last_error"], Value::Null);
    world.landing().await.batch_execute("TRUNCATE landing_leads CASCADE").await.unwrap();
    assert_eq!(bridge.run(&["run"]).await.code, 4);
    let nobody = "postgresql://postgres@127.0.0.1:1/traffic?sslmode=disable";
    for (place, environment, code) in [
        ("both places", &[][..], 2),
        ("another machine", &[("LEADBRIDGE_STATE_DIR", "/nowhere/yet")], 2),
        ("without Traffic", &[("TRAFFIC_DATABASE_URL", nobody)], 3),
    ] {
        let (actual, found) = asked(&bridge, environment).await;
        assert_eq!((actual, &found["state"]), (code, &"stopped".into()), "{place}: {found}");
        let last = &found["last_error"];
        assert!(last["message"].as_str().unwrap().contains("TRUNCATE"), "{place}: {found}");
        assert!(last["remedy"].as_str().unwrap().contains("on_truncate"), "{place}: {found}");
        assert_eq!(last["retrying"], false, "{place}: {found}");
    }
    let text = bridge.run(&["status"]).await.out;
    assert!(text.contains("last error  TRUNCATE") && text.contains("what to do  "), "{text}");

    let bridge = bridge.configured("[stream]\non_truncate = \"apply\"");
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    daemon.kill().await;
    let (code, found) = asked(&bridge, &[]).await;
    assert_eq!((code, &found["last_error"]), (2, &Value::Null), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_is_shown_afterwards_too_and_holds_no_value() {
    let world = World::new().await;
    world.fill(52, 30).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let broken = "CREATE FUNCTION public.broken() RETURNS trigger LANGUAGE plpgsql AS
                      $$ BEGIN RAISE 'Айгерим' USING ERRCODE = 'XX000'; END $$;
                  CREATE TRIGGER broken BEFORE UPDATE ON leadbridge.checkpoint FOR EACH ROW
                      EXECUTE FUNCTION public.broken();
                  ALTER TABLE leadbridge.checkpoint ENABLE ALWAYS TRIGGER broken";
    world.traffic().await.batch_execute(broken).await.unwrap();
    record_form(&world.traffic().await).await;
    assert_eq!(bridge.run(&["run"]).await.code, 70);
    let (code, found) = asked(&bridge, &[]).await;
    assert_eq!(code, 2);
    assert!(found["last_error"]["message"].as_str().unwrap().contains("XX000"), "{found}");
    assert!(!found.to_string().contains("Айгерим"), "{found}");
}

/// A second daemon on the same state directory ends with exit code 4, and the first daemon goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_second_daemon_could_not_do_is_not_the_first_ones_last_error() {
    let world = World::new().await;
    world.fill(53, 30).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    assert_eq!(bridge.run(&["run"]).await.code, 4);
    daemon.terminate().await;
    assert_eq!(asked(&bridge, &[]).await.1["last_error"], Value::Null);
}
