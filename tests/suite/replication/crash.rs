//! Killed daemons, killed walsenders, restarted servers: nothing lost, nothing twice, nothing half.

use leadbridge::throwaway::Shutdown;
use leadbridge::throwaway::writers::WriteRate;

use crate::testkit::{
    Bridge, Positions, World, assert_equal, brake, one, release_brake, until_holds, writers_go_on,
};

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_of_snapshot_and_stream_it_ends_exact_and_the_positions_keep_their_order() {
    let world = World::new().await;
    world.fill(3, 600).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 40\ncheckpoint_interval = \"100ms\"");
    let writers = world.write(&WriteRate::default());
    brake(&world, 0.1).await;
    for killed_after in [0, 1, 300] {
        let mut daemon = bridge.daemon().await;
        let copied = |status: &serde_json::Value| status["snapshot"][0]["rows_done"].as_u64();
        daemon
            .until("rows are copied", |status| copied(status).is_some_and(|rows| rows >= killed_after))
            .await;
        daemon.kill().await;
        let positions = Positions::read(&world, &bridge).await;
        assert!(positions.local.is_none() && positions.traffic.is_none(), "{positions:?}");
    }
    release_brake(&world).await;
    for _ in 0..6 {
        let mut daemon = bridge.daemon().await;
        let transactions = rand::random_range(1..60);
        let applied = |status: &serde_json::Value| status["transactions_applied"].as_u64().unwrap();
        daemon.until("transactions are applied", |status| applied(status) >= transactions).await;
        daemon.kill().await;
        Positions::read(&world, &bridge).await.assert_ordered();
    }
    writers.stop().await.unwrap();
    bridge.catch_up().await;
    Positions::read(&world, &bridge).await.assert_ordered();
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_walsender_and_restarted_servers_are_survived_without_an_operator() {
    let mut world = World::new().await;
    world.fill(4, 200).await;
    let bridge = Bridge::new(&world);
    let writers = world.write(&WriteRate::default());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    for _ in 0..2 {
        let active = "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE active";
        until_holds(&world.landing().await, "count(*) = 1 FROM pg_replication_slots WHERE active").await;
        assert_eq!(one::<i64>(&world.landing().await, active).await, 1);
        daemon.logs("57P01").await;
        writers_go_on(&world, 30).await;
    }
    for shutdown in [Shutdown::Fast, Shutdown::Immediate] {
        world.landing.restart(shutdown).await.unwrap();
        writers_go_on(&world, 30).await;
        world.traffic.restart(shutdown).await.unwrap();
        writers_go_on(&world, 30).await;
        daemon.caught_up(&world).await;
    }
    // A longer outage shows in the status, and ends by itself.
    world.traffic.stop(Shutdown::Immediate).await.unwrap();
    let status = daemon.until("the outage is seen", |status| status["state"] == "error").await;
    assert_eq!(status["last_error"]["retrying"], true, "{status}");
    world.traffic.resume().await.unwrap();
    writers.stop().await.unwrap();
    daemon.caught_up(&world).await;
    let status = daemon.status().await;
    assert!(status["last_error"].is_null(), "{status}");
    assert_equal(&world).await;
    daemon.terminate().await;
    Positions::read(&world, &bridge).await.assert_ordered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_server_that_commits_asynchronously_and_crashes_is_never_behind_the_slot() {
    // Unflushed commits are lost in a server's crash, unless the daemon sets synchronous_commit.
    let settings = [("synchronous_commit", "off"), ("wal_writer_delay", "10s")];
    let mut world = World::with_settings(&[], &settings).await;
    world.fill(5, 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    for _ in 0..3 {
        let landing = world.landing().await;
        landing.batch_execute("UPDATE landing_leads SET click_count = 1").await.unwrap();
        daemon.caught_up(&world).await;
        let moved = "confirmed_flush_lsn >= pg_current_wal_insert_lsn() - 1000000 FROM pg_replication_slots";
        until_holds(&landing, moved).await;
        world.traffic.restart(Shutdown::Kill).await.unwrap();
        daemon.caught_up(&world).await;
    }
    assert_equal(&world).await;
}
