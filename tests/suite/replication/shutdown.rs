//! The end of a daemon, and the takeover by another daemon.

use std::time::Duration;

use leadbridge::throwaway::writers::WriteRate;
use leadbridge::throwaway::{Shutdown, signal};
use nix::sys::signal::Signal;

use crate::testkit::{
    Bridge, Positions, World, assert_equal, brake, one, release_brake, until_holds, writers_go_on,
};

const SECONDS: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_with_exit_0_in_the_middle_of_snapshot_and_stream_and_nothing_is_half() {
    let world = World::new().await;
    world.fill(9, 500).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 20");
    brake(&world, 0.2).await;
    let mut daemon = bridge.daemon().await;
    let copied = |status: &serde_json::Value| status["snapshot"][0]["rows_done"].as_u64() > Some(0);
    daemon.until("rows are copied", copied).await;
    daemon.terminate().await;
    let state = "SELECT state FROM leadbridge.checkpoint";
    assert_eq!(one::<String>(&world.traffic().await, state).await, "snapshot");
    release_brake(&world).await;

    let writers = world.write(&WriteRate::default());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    writers_go_on(&world, 50).await;
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.ended(SECONDS).await.code(), Some(0));
    Positions::read(&world, &bridge).await.assert_ordered();
    writers.stop().await.unwrap();
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_within_seconds_also_while_somebody_holds_the_rows_or_a_server_is_away() {
    let mut world = World::new().await;
    world.fill(10, 100).await;
    let bridge = Bridge::new(&world);
    let mut locker = world.traffic().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    let traffic = world.traffic().await;
    let waits = "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

    let daemon = bridge.daemon().await;
    until_holds(&traffic, waits).await;
    daemon.terminate().await;
    lock.rollback().await.unwrap();

    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE traffic_leads IN SHARE MODE").await.unwrap();
    world.landing().await.batch_execute("UPDATE landing_leads SET click_count = 9").await.unwrap();
    until_holds(&traffic, waits).await;
    daemon.terminate().await;
    lock.rollback().await.unwrap();

    // A new slot waits for old transactions; the daemon's end does not wait.
    let mut writer = world.landing().await;
    let open = writer.transaction().await.unwrap();
    open.batch_execute("UPDATE landing_leads SET click_count = 10").await.unwrap();
    let resync = bridge.command(&["resync", "--yes"]).spawn().unwrap();
    until_holds(&world.landing().await, "count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CREATE_REPL%'")
        .await;
    signal(&resync, Signal::SIGTERM).unwrap();
    let resync =
        tokio::time::timeout(SECONDS, resync.wait_with_output()).await.expect("resync ends").unwrap();
    assert_eq!(resync.status.code(), Some(4), "a resync that was stopped is not complete");
    open.commit().await.unwrap();

    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    world.landing.stop(Shutdown::Fast).await.unwrap();
    daemon.until("the outage is seen", |status| status["state"] == "error").await;
    daemon.terminate().await;
    world.landing.resume().await.unwrap();
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_stands_by_and_takes_over_within_seconds() {
    let world = World::new().await;
    world.fill(11, 100).await;
    let (first, second) = (Bridge::new(&world), Bridge::new(&world));
    let mut leading = first.daemon().await;
    leading.streaming().await;

    // With the same state directory the second daemon is refused, on any port.
    let said = first.run(&["run"]).await;
    assert_eq!(said.code, 4, "{}", said.err);
    assert_eq!(said.err.matches("error:").count(), 1, "{}", said.err);
    assert!(said.err.contains("another leadbridge uses the state directory"), "{}", said.err);
    assert!(said.err.contains("what to do: "), "{}", said.err);

    let mut waiting = second.daemon().await;
    waiting.until("it stands by", |status| status["state"] == "standby").await;
    let writers = world.write(&WriteRate::default());
    writers_go_on(&world, 50).await;
    assert_eq!(waiting.status().await["state"], "standby");
    leading.kill().await;
    let taken_over = tokio::time::timeout(SECONDS, waiting.streaming());
    taken_over.await.expect("the second daemon takes over within seconds");
    writers_go_on(&world, 50).await;
    // The first daemon comes back, and now waits as the standby.
    let mut back = first.daemon().await;
    back.until("it stands by", |status| status["state"] == "standby").await;
    back.terminate().await;
    writers.stop().await.unwrap();
    waiting.caught_up(&world).await;
    assert_equal(&world).await;
    waiting.terminate().await;
    Positions::read(&world, &second).await.assert_ordered();
    first.catch_up().await;
}
