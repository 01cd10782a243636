//! Landing is replaced by a standby or by an older copy: Traffic stays exact, or the daemon refuses until a resync.

use leadbridge::throwaway::{Cluster, Shutdown};

use crate::testkit::{
    Bridge, Daemon, Positions, Proxy, World, assert_equal, assert_refused, back_up, ends_refused, holds,
    landing, one, restore, standby_of, until_holds, until_true,
};

/// An update, inserts and deletes.
const WORK: &str = "UPDATE landing_leads SET click_count = coalesce(click_count, 0) + 1;
    INSERT INTO landing_leads (name, phone) SELECT 'new', n::text FROM generate_series(1, 5) AS n;
    DELETE FROM landing_leads WHERE id IN (SELECT id FROM landing_leads ORDER BY id LIMIT 3)";

const APPLIED: &str = "SELECT applied_lsn::text FROM leadbridge.checkpoint";

/// An installation that reaches Landing through a proxy, so that the test can switch to another Landing.
async fn behind_proxy(world: &World, configuration: &str) -> (Proxy, Bridge) {
    let proxy = Proxy::to(world.landing.port()).await;
    let landing = proxy.url(&world.landing_url(), world.landing.port());
    (proxy, Bridge::between(&landing, &world.traffic_url()).configured(configuration))
}

async fn meets_a_standby(daemon: &mut Daemon) {
    let says = |status: &serde_json::Value| {
        let error = &status["last_error"];
        error["retrying"] == true
            && error["message"]
                .as_str()
                .is_some_and(|message| message.contains("a standby that is not promoted"))
    };
    daemon.until("the daemon meets a standby", says).await;
}

async fn resynced_exact(world: &World, bridge: &Bridge) {
    let said = bridge.run(&["resync", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    landing(world, WORK).await;
    bridge.catch_up().await;
    assert_equal(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_whose_disk_was_put_back_is_refused_until_a_resync() {
    let mut world = World::new().await;
    world.fill(60, 50).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let backup = back_up(&mut world.landing).await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, WORK).await;
    daemon.caught_up(&world).await;
    restore(&mut world.landing, &backup).await;
    // Under the running daemon, and before a start.
    let traffic_is_at = format!("Traffic is at {}", one::<String>(&world.traffic().await, APPLIED).await);
    let words = [&*traffic_is_at, "but Landing's WAL ends at ", "leadbridge resync"];
    ends_refused(&mut daemon, &words).await;
    assert_refused(&bridge.run(&["run"]).await, &words);
    let doctor = bridge.run(&["doctor"]).await;
    assert!(doctor.out.contains("but Landing's WAL ends at "), "{}", doctor.out);
    resynced_exact(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_in_recovery_is_waited_for_until_it_is_promoted() {
    let mut world = World::new().await;
    world.fill(61, 50).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    landing(&world, WORK).await;
    daemon.caught_up(&world).await;
    let traffic = world.traffic().await;
    assert!(holds(&traffic, "landing_timeline = 1 FROM leadbridge.checkpoint").await);
    world.landing.install("standby.signal", b"").unwrap();
    world.landing.restart(Shutdown::Fast).await.unwrap();
    meets_a_standby(&mut daemon).await;
    landing(&world, "SELECT pg_promote()").await;
    landing(&world, WORK).await;
    daemon.caught_up(&world).await;
    assert!(holds(&traffic, "landing_timeline = 2 FROM leadbridge.checkpoint").await);
    daemon.terminate().await;
    assert_equal(&world).await;
    // An installation without a recorded timeline takes the timeline of the present Landing.
    traffic.batch_execute("UPDATE leadbridge.checkpoint SET landing_timeline = NULL").await.unwrap();
    landing(&world, WORK).await;
    bridge.catch_up().await;
    assert!(holds(&traffic, "landing_timeline = 2 FROM leadbridge.checkpoint").await);
    assert_equal(&world).await;
    // A timeline unknown to this Landing: for example, the abandoned primary comes back.
    traffic.batch_execute("UPDATE leadbridge.checkpoint SET landing_timeline = 3").await.unwrap();
    let words = ["on timeline 3", "Landing's timeline 2", "leadbridge resync"];
    assert_refused(&bridge.run(&["run"]).await, &words);
    resynced_exact(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_that_lacked_what_traffic_has_is_refused_even_when_it_has_written_more() {
    let mut world = World::new().await;
    world.fill(62, 50).await;
    let mut standby = standby_of(&mut world.landing, "landing", &[]).await;
    let (proxy, bridge) = behind_proxy(&world, "").await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    standby.stop(Shutdown::Fast).await.unwrap();
    landing(&world, WORK).await;
    landing(&world, "SELECT pg_switch_wal()").await;
    landing(&world, WORK).await;
    daemon.caught_up(&world).await;
    world.landing.stop(Shutdown::Kill).await.unwrap();
    let traffic = world.traffic().await;
    let at: String = one(&traffic, APPLIED).await;

    standby.resume().await.unwrap();
    std::mem::swap(&mut world.landing, &mut standby);
    let client = world.landing().await;
    client.batch_execute("SELECT pg_promote()").await.unwrap();
    // An operator who wants the stream back makes a slot with the configured name, behind Traffic.
    client
        .batch_execute("SELECT pg_create_logical_replication_slot('leadbridge', 'pgoutput')")
        .await
        .unwrap();
    assert!(holds(&client, &format!("confirmed_flush_lsn < '{at}' FROM pg_replication_slots")).await);
    until_true("the new primary has written more", async || {
        client.batch_execute(WORK).await.unwrap();
        client.batch_execute("SELECT pg_switch_wal()").await.unwrap();
        holds(&client, &format!("pg_current_wal_flush_lsn() > '{at}'")).await
    })
    .await;
    proxy.redirect(world.landing.port());
    let words =
        [&*format!("Traffic is at {at} on timeline 1"), "left that timeline at ", "leadbridge resync"];
    ends_refused(&mut daemon, &words).await;
    assert_refused(&bridge.run(&["run"]).await, &words);
    assert_eq!(one::<String>(&traffic, APPLIED).await, at);
    resynced_exact(&world, &bridge).await;
    assert!(holds(&traffic, "landing_timeline = 2 FROM leadbridge.checkpoint").await);
}

const FAILOVER: &str = "[snapshot]\nslot_failover = true";

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_that_kept_the_slot_serves_the_stream_without_a_new_snapshot() {
    let mut world = World::new().await;
    world.fill(63, 50).await;
    let (proxy, bridge) = behind_proxy(&world, FAILOVER).await;
    let client = world.landing().await;
    if holds(&client, "current_setting('server_version_num')::int < 170000").await {
        assert_refused(&bridge.run(&["run"]).await, &["slot_failover", "PostgreSQL 17"]);
        assert!(holds(&client, "count(*) = 0 FROM pg_replication_slots").await);
        assert!(holds(&world.traffic().await, "count(*) = 0 FROM leadbridge.checkpoint").await);
        return;
    }
    let mut standby = standby_that_keeps_the_slot(&mut world).await;
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let (client, copy) = (world.landing().await, standby.connect("postgres").await.unwrap());
    // A copy of the slot counts once the primary's slot has moved on.
    until_true("the standby keeps the slot", async || {
        client.batch_execute(WORK).await.unwrap();
        client.batch_execute("SELECT pg_log_standby_snapshot()").await.unwrap();
        holds(&copy, "count(*) = 1 FROM pg_replication_slots WHERE synced AND NOT temporary").await
    })
    .await;
    daemon.caught_up(&world).await;
    let traffic = world.traffic().await;
    let snapshot: String = one(&traffic, "SELECT snapshot_time::text FROM leadbridge.checkpoint").await;
    client.batch_execute(WORK).await.unwrap();
    world.landing.stop(Shutdown::Kill).await.unwrap();
    // The name moves first, and the promotion comes later.
    proxy.redirect(standby.port());
    meets_a_standby(&mut daemon).await;
    std::mem::swap(&mut world.landing, &mut standby);
    landing(&world, "SELECT pg_promote()").await;
    landing(&world, WORK).await;
    daemon.caught_up(&world).await;
    daemon.terminate().await;
    assert_equal(&world).await;
    Positions::read(&world, &bridge).await.assert_ordered();
    let same = format!("snapshot_time::text = '{snapshot}' FROM leadbridge.checkpoint");
    assert!(holds(&traffic, &same).await);
    assert!(holds(&traffic, "landing_timeline = 2 FROM leadbridge.checkpoint").await);
}

/// A standby in the configuration of `deploy/leadbridge.toml.example`.
async fn standby_that_keeps_the_slot(world: &mut World) -> Cluster {
    landing(world, "SELECT pg_create_physical_replication_slot('standby', true)").await;
    let settings =
        [("primary_slot_name", "standby"), ("hot_standby_feedback", "on"), ("sync_replication_slots", "on")];
    let standby = standby_of(&mut world.landing, "landing", &settings).await;
    let client = world.landing().await;
    until_holds(&client, "active FROM pg_replication_slots WHERE slot_name = 'standby'").await;
    // Set only now: the promoted standby must not have the setting, because the promoted standby has no standby of
    // its own.
    client.batch_execute("ALTER SYSTEM SET synchronized_standby_slots = 'standby'").await.unwrap();
    world.landing.reload();
    until_holds(&client, "current_setting('synchronized_standby_slots') = 'standby'").await;
    standby
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_not_as_configured_is_named_by_the_examination() {
    let world = World::new().await;
    world.fill(64, 20).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let examined = async |bridge: Bridge| bridge.run(&["doctor"]).await.out;
    let said = examined(Bridge::new(&world)).await;
    assert!(!said.contains("ALTER_REPLICATION_SLOT"), "{said}");
    let said = examined(Bridge::new(&world).configured(FAILOVER)).await;
    if holds(&world.landing().await, "current_setting('server_version_num')::int < 170000").await {
        assert!(said.contains("slot_failover needs PostgreSQL 17"), "{said}");
    } else {
        assert!(said.contains("ALTER_REPLICATION_SLOT leadbridge (FAILOVER true)"), "{said}");
        assert!(said.contains("synchronized_standby_slots is empty"), "{said}");
        // The resync makes the slot in the configured form.
        let bridge = bridge.configured(FAILOVER);
        assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
        assert!(holds(&world.landing().await, "failover FROM pg_replication_slots").await);
        assert!(!examined(bridge).await.contains("ALTER_REPLICATION_SLOT"));
        assert!(examined(Bridge::new(&world)).await.contains("(FAILOVER false)"));
        landing(&world, "ALTER SYSTEM SET synchronized_standby_slots = 'a, leadbridge, b'").await;
        world.landing.reload();
        until_true("a standby that is not connected is named", async || {
            examined(Bridge::new(&world).configured(FAILOVER))
                .await
                .contains("not connected: a, leadbridge, b (")
        })
        .await;
    }
}
