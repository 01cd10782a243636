//! WAL of other tables: applies nothing and holds nothing back.

use std::time::Duration;

use crate::testkit::{Bridge, World, assert_equal, holds, one, until, until_holds};

/// Writes to the LMS during the work.
async fn while_the_lms_writes(world: &World, work: impl Future<Output = ()>) {
    let lms = world.landing().await;
    let write = "INSERT INTO video_events (user_id, lesson_id, position_seconds, payload)
        SELECT u.id, l.id, 1, repeat('video ', 50) FROM users AS u, lessons AS l LIMIT 20";
    let writing = async {
        loop {
            lms.batch_execute(write).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = writing => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_the_lms_reach_nothing_move_the_slot_and_are_no_lag() {
    let world = World::new().await;
    world.fill(7, 100).await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"1s\"");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    daemon.caught_up(&world).await;
    let before = daemon.status().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    while_the_lms_writes(&world, async {
        let start: String = one(&landing, "SELECT pg_current_wal_insert_lsn()::text").await;
        for bytes in [100_000, 1_000_000] {
            // The slot follows WAL without any replicated change.
            let moved =
                format!("confirmed_flush_lsn > '{start}'::pg_lsn + {bytes} FROM pg_replication_slots");
            until_holds(&landing, &moved).await;
            daemon.until("no lag", |status| status["lag_bytes"] == 0 && status["lag_seconds"] == 0.0).await;
        }
        // A checkpoint records the running transactions: from there on the slot needs no older WAL.
        landing.batch_execute("CHECKPOINT").await.unwrap();
        until_holds(&landing, &format!("restart_lsn > '{start}'::pg_lsn FROM pg_replication_slots")).await;
    })
    .await;
    let after = daemon.status().await;
    assert_eq!(before["rows_applied"], after["rows_applied"]);
    assert!(!holds(&traffic, "to_regclass('public.video_events') IS NOT NULL").await);
    assert_equal(&world).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_streams_position_is_written_down_only_every_checkpoint_interval() {
    let world = World::new().await;
    world.fill(8, 20).await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"1h\"");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    landing.batch_execute("UPDATE landing_leads SET click_count = 5").await.unwrap();
    daemon.caught_up(&world).await;
    let written = "SELECT xmin::text FROM leadbridge.checkpoint";
    let before: String = one(&traffic, written).await;
    while_the_lms_writes(&world, async {
        let goal: i64 = one(&landing, "SELECT count(*) + 2000 FROM video_events").await;
        until_holds(&landing, &format!("count(*) > {goal} FROM video_events")).await;
        daemon.until("no lag", |status| status["lag_bytes"] == 0).await;
    })
    .await;
    assert_eq!(one::<String>(&traffic, written).await, before, "LMS writes were written down");
    // Replicated changes are recorded at once all the same.
    landing.batch_execute("UPDATE landing_leads SET click_count = 6").await.unwrap();
    until("the change is written down", async || {
        (one::<String>(&traffic, written).await != before).then_some(())
    })
    .await;
    daemon.terminate().await;
    bridge.catch_up().await;
    assert_equal(&world).await;
}
