//! Contradicting positions are refused, and a resync repairs the state.

mod rereading;

use std::path::Path;

use leadbridge::checkpoint::LocalStore;
use leadbridge::model::lsn::Lsn;

use crate::testkit::{
    Bridge, Positions, World, assert_equal, assert_refused, back_up, brake, copy_dir, ends_refused, holds,
    landing, one, release_brake, released, restore, until_holds,
};

const RECORD: &str = "SELECT (c.*)::text FROM leadbridge.checkpoint AS c";

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_somebody_else_made_is_refused_and_left_alone() {
    let world = World::new().await;
    world.fill(20, 20).await;
    let landing = world.landing().await;
    for (made, words) in [
        ("pg_create_logical_replication_slot('leadbridge', 'test_decoding')", "[names]"),
        ("pg_create_physical_replication_slot('leadbridge')", "[names]"),
        ("pg_create_logical_replication_slot('leadbridge', 'pgoutput')", "slot"),
    ] {
        landing.batch_execute(&format!("SELECT {made}")).await.unwrap();
        let slot = "SELECT row(s.*)::text FROM pg_replication_slots AS s";
        let before: String = one(&landing, slot).await;
        assert_refused(&Bridge::new(&world).run(&["run"]).await, &["leadbridge", words]);
        assert_eq!(one::<String>(&landing, slot).await, before, "{made}");
        assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.checkpoint").await);
        landing.batch_execute("SELECT pg_drop_replication_slot('leadbridge')").await.unwrap();
    }
    // Not even a resync drops a foreign slot.
    landing
        .batch_execute("SELECT pg_create_logical_replication_slot('leadbridge', 'test_decoding')")
        .await
        .unwrap();
    assert_refused(&Bridge::new(&world).run(&["resync", "--yes"]).await, &["[names]"]);
    assert!(holds(&landing, "count(*) = 1 FROM pg_replication_slots").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_that_was_restored_from_a_backup_is_refused_until_a_resync() {
    let world = World::new().await;
    world.fill(21, 100).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    // A backup of Traffic's state tables, and later work.
    traffic.batch_execute("CREATE TABLE backup AS SELECT * FROM leadbridge.checkpoint").await.unwrap();
    landing.batch_execute("UPDATE landing_leads SET click_count = 3").await.unwrap();
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    // The slot has released the WAL that the backup lacks.
    let backup: String = one(&traffic, "SELECT applied_lsn::text FROM backup").await;
    until_holds(&landing, &format!("confirmed_flush_lsn > '{backup}'::pg_lsn FROM pg_replication_slots"))
        .await;
    daemon.terminate().await;
    let restore = "UPDATE leadbridge.checkpoint SET applied_lsn = b.applied_lsn FROM backup AS b";
    traffic.batch_execute(restore).await.unwrap();
    let before: String = one(&traffic, RECORD).await;
    for state in ["its own", "an empty"] {
        let said = if state == "its own" {
            bridge.run(&["run"]).await
        } else {
            Bridge::new(&world).run(&["run"]).await
        };
        assert_refused(&said, &["Traffic is at", "leadbridge resync"]);
        assert_eq!(one::<String>(&traffic, RECORD).await, before, "with {state} state directory");
    }
    // No checkpoint at all: a backup from before the first start.
    traffic.batch_execute("DELETE FROM leadbridge.checkpoint").await.unwrap();
    assert_refused(&bridge.run(&["run"]).await, &["leadbridge resync"]);
    assert!(holds(&traffic, "count(*) = 0 FROM leadbridge.checkpoint").await);

    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_dropped_slot_a_resync_ends_exact_and_keeps_what_was_born_on_traffic() {
    let world = World::new().await;
    world.fill(22, 200).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    released(&world).await;
    landing.batch_execute(DROP).await.unwrap();
    let before: String = one(&traffic, RECORD).await;
    assert_refused(&bridge.run(&["run"]).await, &["gone", "leadbridge resync"]);
    assert_eq!(one::<String>(&traffic, RECORD).await, before);
    assert!(holds(&landing, "count(*) = 0 FROM pg_replication_slots").await);
    resync_ends_exact(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_slot_a_resync_ends_exact_and_keeps_what_was_born_on_traffic() {
    let settings = [("max_slot_wal_keep_size", "16MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")];
    let world = World::with_settings(&settings, &[]).await;
    world.fill(23, 200).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let landing = world.landing().await;
    for _ in 0..4 {
        // Each round fills a WAL segment, and ends with a checkpoint that removes WAL over the limit.
        landing.batch_execute("SELECT pg_switch_wal(); CREATE TABLE w(); DROP TABLE w").await.unwrap();
    }
    landing.batch_execute("CHECKPOINT").await.unwrap();
    until_holds(&landing, "wal_status = 'lost' FROM pg_replication_slots").await;
    let before: String = one(&world.traffic().await, RECORD).await;
    assert_refused(&bridge.run(&["run"]).await, &["lost", "leadbridge resync"]);
    assert_eq!(one::<String>(&world.traffic().await, RECORD).await, before);
    let status = bridge.run(&["status", "--json"]).await;
    assert_eq!(status.code, 2, "{}", status.err);
    assert!(status.out.contains("\"lost\""), "{}", status.out);
    resync_ends_exact(&world, &bridge).await;
}

/// Landing goes on without a slot: deletes, inserts, updates; then the resync.
async fn resync_ends_exact(world: &World, bridge: &Bridge) {
    let (landing, traffic) = (world.landing().await, world.traffic().await);
    let own = "INSERT INTO traffic_leads (name, fb_lead_id) VALUES ('born here', 'fb-9');
         INSERT INTO traffic_sales (lead_id, amount) SELECT id, 1 FROM traffic_leads;
         UPDATE traffic_leads SET status = 'converted' WHERE landing_synced_at IS NOT NULL";
    traffic.batch_execute(own).await.unwrap();
    let meanwhile =
        "DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 30);
         UPDATE landing_leads SET click_count = 42;
         DELETE FROM journey_stages WHERE id IN (SELECT id FROM journey_stages ORDER BY id LIMIT 30);
         INSERT INTO landing_leads (name, phone) SELECT 'new', n::text FROM generate_series(1, 30) AS n";
    landing.batch_execute(meanwhile).await.unwrap();
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_equal(world).await;
    landing.batch_execute("UPDATE landing_leads SET click_count = 43").await.unwrap();
    bridge.catch_up().await;
    assert_equal(world).await;
    assert!(holds(&traffic, "count(*) = 1 FROM traffic_leads WHERE landing_synced_at IS NULL").await);
    assert!(holds(&traffic, "count(*) = 30 FROM traffic_sales WHERE lead_id IS NULL").await);
    assert!(holds(&traffic, "count(*) = 171 FROM traffic_sales WHERE lead_id IS NOT NULL").await);
    assert!(holds(&traffic, "count(*) = 170 FROM traffic_leads WHERE status = 'converted'").await);
}

const WORK: &str = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_local_store_that_is_deleted_older_or_damaged_loses_nothing() {
    let world = World::new().await;
    world.fill(24, 50).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let state = bridge.state_dir();
    let earlier = bridge.dir().join("earlier");
    copy_dir(&state, &earlier).await;
    landing(&world, WORK).await;
    bridge.catch_up().await;
    // Older store: a machine restored from a backup. Deleted store: a machine set up again.
    for backup in [Some(&earlier), None] {
        std::fs::remove_dir_all(&state).unwrap();
        if let Some(earlier) = backup {
            copy_dir(earlier, &state).await;
        }
        landing(&world, WORK).await;
        bridge.catch_up().await;
        Positions::read(&world, &bridge).await.assert_ordered();
        assert_equal(&world).await;
    }
    // Damaged store: whatever remains of the files, the daemon runs exactly or names the remedy, and never crashes.
    let good = bridge.dir().join("good");
    copy_dir(&state, &good).await;
    for (file, damage) in [
        ("db", Damage::Empty),
        ("db", Damage::Half),
        ("db", Damage::Garbage),
        ("conf", Damage::Empty),
        ("conf", Damage::Garbage),
    ] {
        std::fs::remove_dir_all(&state).unwrap();
        copy_dir(&good, &state).await;
        damage.inflict(&state.join(file));
        let said = bridge.run(&["run", "--until-caught-up"]).await;
        let place = format!("{file}: {damage:?}");
        assert!(!said.err.contains("panicked"), "{place}: {}", said.err);
        if said.code != 0 {
            assert_refused(&said, &["state directory", "empty the directory"]);
        }
        std::fs::remove_dir_all(&state).unwrap();
        landing(&world, WORK).await;
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}

/// Damage of a file by a full or broken disk.
#[derive(Debug)]
enum Damage {
    Empty,
    Half,
    Garbage,
}

impl Damage {
    fn inflict(&self, file: &Path) {
        let mut bytes = std::fs::read(file).unwrap();
        match self {
            Damage::Empty => bytes.clear(),
            Damage::Half => bytes.truncate(bytes.len() / 2),
            Damage::Garbage => {
                bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7))
            }
        }
        std::fs::write(file, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_store_that_is_ahead_of_traffic_is_refused_until_a_resync() {
    let world = World::new().await;
    world.fill(25, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let store = LocalStore::open(&bridge.state_dir()).unwrap();
    let (identity, Lsn(lsn)) = store.read().unwrap().unwrap();
    store.advance(&identity, Lsn(lsn + 1)).unwrap();
    drop(store);
    assert_refused(&bridge.run(&["run"]).await, &["the local state directory is at", "leadbridge resync"]);
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    bridge.catch_up().await;
    assert_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_server_that_was_really_restored_is_refused_until_a_resync() {
    let mut world = World::new().await;
    world.fill(26, 50).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let backup = back_up(&mut world.traffic).await;
    landing(
        &world,
        &format!("{WORK}; DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads LIMIT 5)"),
    )
    .await;
    bridge.catch_up().await;
    // Traffic is restored under a running daemon, not only before a start.
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    restore(&mut world.traffic, &backup).await;
    ends_refused(&mut daemon, &["Traffic is at", "leadbridge resync"]).await;
    assert_refused(&bridge.run(&["run"]).await, &["Traffic is at", "leadbridge resync"]);
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    bridge.catch_up().await;
    assert_equal(&world).await;
}

const DROP: &str = "SELECT pg_drop_replication_slot('leadbridge')";
const CREATE: &str = "SELECT pg_create_logical_replication_slot('leadbridge', 'pgoutput')";

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_made_again_or_advanced_is_refused_even_on_an_idle_landing() {
    let world = World::new().await;
    world.fill(27, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let advance = "SELECT pg_replication_slot_advance('leadbridge', pg_current_wal_lsn())";
    for (sql, idle) in [([DROP, CREATE], true), ([DROP, CREATE], false), ([WORK, advance], false)] {
        if !idle {
            landing(&world, WORK).await;
        }
        released(&world).await;
        for statement in sql {
            landing(&world, statement).await;
        }
        assert_refused(&bridge.run(&["run"]).await, &["Traffic is at", "leadbridge resync"]);
        assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_dropped_or_made_again_under_a_running_daemon_ends_it() {
    let world = World::new().await;
    world.fill(28, 20).await;
    let bridge = Bridge::new(&world);
    for (again, word) in [("", "gone"), (CREATE, "Traffic is at")] {
        let mut daemon = bridge.daemon().await;
        daemon.streaming().await;
        let sql = format!(
            "DO $$ BEGIN LOOP
                 PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
                 BEGIN
                     PERFORM pg_drop_replication_slot('leadbridge');
                     EXIT;
                 EXCEPTION WHEN object_in_use THEN NULL;
                 END;
             END LOOP; END $$; {again}"
        );
        landing(&world, &sql).await;
        landing(&world, WORK).await;
        ends_refused(&mut daemon, &[word, "leadbridge resync"]).await;
        assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
        bridge.catch_up().await;
        assert_equal(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_invalidated_while_the_daemon_is_held_up_ends_it() {
    let settings = [("max_slot_wal_keep_size", "16MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")];
    let world = World::with_settings(&settings, &[]).await;
    world.fill(29, 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    brake(&world, 3.0).await;
    let client = world.landing().await;
    client.batch_execute(WORK).await.unwrap();
    until_holds(&world.traffic().await, "count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        .await;
    until_lost(&client).await;
    release_brake(&world).await;
    ends_refused(&mut daemon, &["lost", "leadbridge resync"]).await;
    assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
    bridge.catch_up().await;
    assert_equal(&world).await;
}

/// Writes WAL until the slot is lost.
async fn until_lost(client: &tokio_postgres::Client) {
    crate::testkit::until_true("the slot is lost", async || {
        client.batch_execute("SELECT pg_switch_wal(); CREATE TABLE w(); DROP TABLE w").await.unwrap();
        client.batch_execute("CHECKPOINT").await.unwrap();
        holds(client, "wal_status = 'lost' FROM pg_replication_slots").await
    })
    .await;
}
