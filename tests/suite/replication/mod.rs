//! Replication end to end: the real binary between two real servers, with live writers.

mod crash;
mod ending;
mod failover;
mod killpoints;
mod large;
mod limit;
mod memory;
mod outages;
mod refusals;
pub mod reverse;
mod rewrites;
mod shutdown;
mod silence;
mod synchronous;
mod threads;

use leadbridge::throwaway::writers::WriteRate;

use crate::testkit::{
    Bridge, World, assert_equal, brake, caught_up_and_equal, landing, release_brake, until_holds,
    writers_go_on,
};

#[tokio::test(flavor = "multi_thread")]
async fn with_writers_from_before_the_snapshot_until_after_it_traffic_equals_the_oracle() {
    let world = World::new().await;
    world.fill(1, 1000).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 100");
    let writers = world.write(&WriteRate::default());
    writers_go_on(&world, 50).await;

    // Slow enough for the writers to write during the copy.
    brake(&world, 0.05).await;
    let mut daemon = bridge.daemon().await;
    daemon.until("the copy restarts", |status| status["state"] == "snapshot").await;
    writers_go_on(&world, 100).await;
    daemon.streaming().await;
    release_brake(&world).await;
    writers_go_on(&world, 200).await;
    let totals = writers.stop().await.unwrap();
    assert!(totals.committed > 50, "{totals:?}");

    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_caught_up_copies_and_streams_what_was_committed_before_it_started_and_ends() {
    let world = World::new().await;
    world.fill(2, 300).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    assert_equal(&world).await;
    let writers = world.write(&WriteRate { pause: std::time::Duration::ZERO, ..WriteRate::default() });
    writers_go_on(&world, 300).await;
    // `--until-caught-up` ends although the writers go on.
    bridge.catch_up().await;
    writers.stop().await.unwrap();
    bridge.catch_up().await;
    assert_equal(&world).await;
    // `--until-caught-up` ends without any change, too.
    bridge.catch_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_takes_no_writes_by_default_is_copied_and_streamed_all_the_same() {
    let world = World::new().await;
    world.fill(90, 40).await;
    landing(&world, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    world.landing.reload();
    until_holds(&world.landing().await, "current_setting('default_transaction_read_only') = 'on'").await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    assert_equal(&world).await;
    landing(&world, "BEGIN READ WRITE; UPDATE landing_leads SET click_count = 8; COMMIT").await;
    bridge.catch_up().await;
    assert_equal(&world).await;
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_equal(&world).await;
}
