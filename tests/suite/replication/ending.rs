//! A process that is told to end, or that has to, ends: whatever hangs, and whichever thread panics.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use leadbridge::failpoint::Point;
use leadbridge::throwaway::ReservedPort;
use nix::sys::signal::Signal;

use crate::testkit::{Bridge, Daemon, World, assert_equal, landing, released, until_holds};

const LEAD: &str = "INSERT INTO landing_leads (name, phone) VALUES ('n', '+7')";
/// The limits are 15 s for the replication and 10 s for the rest; a loaded machine gets the double.
const ENDS: Duration = Duration::from_secs(50);

/// A streaming daemon whose write to the state directory never returns, as on a hung disk.
async fn hung(world: &World, bridge: &Bridge) -> Daemon {
    bridge.catch_up().await;
    let fault = format!("{}:1:hang", Point::StoreWritten.name());
    let mut daemon = bridge.daemon_with(&[("LEADBRIDGE_FAILPOINT", &fault)]).await;
    daemon.streaming().await;
    landing(world, LEAD).await;
    daemon.caught_up(world).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_daemon_at_once_that_the_first_cannot_end() {
    let world = World::new().await;
    world.fill(61, 20).await;
    let bridge = Bridge::new(&world);
    for (first, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGTERM, Signal::SIGINT)] {
        let mut daemon = hung(&world, &bridge).await;
        daemon.signal(first);
        daemon.logs("a second signal ends the process at once").await;
        daemon.signal(second);
        assert_eq!(daemon.ended(ENDS).await.signal(), Some(second as i32), "{}", daemon.log());
        released(&world).await;
    }
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_disk_holds_up_the_end_for_seconds_only_and_the_log_names_it() {
    let world = World::new().await;
    world.fill(62, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = hung(&world, &bridge).await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended(ENDS).await.code(), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("a write to the state directory"), "{}", daemon.log());
    released(&world).await;
    bridge.catch_up().await;
    assert_equal(&world).await;

    // At the end of the snapshot the store is written on the main thread, which then can do nothing any more.
    let world = World::new().await;
    let bridge = Bridge::new(&world);
    let fault = format!("{}:1:hang", Point::StoreWritten.name());
    let mut daemon = bridge.daemon_with(&[("LEADBRIDGE_FAILPOINT", &fault)]).await;
    until_holds(&world.traffic().await, "count(*) = 1 FROM leadbridge.checkpoint WHERE state = 'streaming'")
        .await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended(ENDS).await.code(), Some(70), "{}", daemon.log());
    assert!(daemon.log().contains("the replication did not end in time"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_the_replication_is_said_although_the_teardown_hangs() {
    let world = World::new().await;
    world.fill(63, 20).await;
    let bridge = Bridge::new(&world);
    let mut daemon = hung(&world, &bridge).await;
    landing(&world, "TRUNCATE landing_leads CASCADE").await;
    assert_eq!(daemon.ended(ENDS).await.code(), Some(4), "{}", daemon.log());
    let log = daemon.log();
    let (why, hangs) = (log.find("replication has ended"), log.find("a write to the state directory"));
    assert!(why.is_some() && why < hangs && log.contains("TRUNCATE"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_any_thread_ends_the_process_with_its_place_and_without_a_value() {
    for (point, thread) in [
        (Point::Copying, "a task of the copy"),
        (Point::Committed, "the main thread"),
        (Point::StoreWritten, "a blocking thread"),
        (Point::Acknowledged, "the stream's thread"),
    ] {
        let world = World::new().await;
        world.fill(64, 20).await;
        let bridge = Bridge::new(&world);
        if point != Point::Copying {
            bridge.catch_up().await;
            landing(&world, LEAD).await;
        }
        let fault = format!("{}:1:panic", point.name());
        let environment = [("LEADBRIDGE_FAILPOINT", fault.as_str())];
        let mut daemon = Daemon::spawn(&bridge, &environment, ReservedPort::for_daemon().unwrap());
        let status = daemon.ended(ENDS).await;
        let log = daemon.log();
        assert_eq!(status.code(), Some(70), "{thread}: {log}");
        assert!(log.contains("panicked at src/failpoint.rs:"), "{thread}: {log}");
        assert!(!log.contains("the value of"), "{thread}: {log}");
        let status = bridge.run(&["status", "--json"]).await.out;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let last = status["last_error"]["message"].as_str().unwrap_or_default();
        assert!(last.contains("panicked at src/failpoint.rs:"), "{thread}: {status}");
        released(&world).await;
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}
