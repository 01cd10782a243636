//! Logical messages of other programs, which any role may write into the WAL: of any size, on either server, plain and
//! encrypted, they pass through the stream unread.

use leadbridge::migrate::MigrateOptions;
use tokio_postgres::Client;

use super::tls::encrypt;
use crate::replication::reverse::switch::{carried, switch};
use crate::testkit::{
    Bridge, Daemon, Fault, Proxy, Target, World, assert_peak, caught_up_and_equal, ends_refused, holds,
    landing, stranger, traffic,
};

/// Bound of the daemon's resident memory, in bytes. The measured build is not optimised.
const MEMORY: u64 = 112 << 20;

/// Emits a message of the given number of bytes.
async fn emit(stranger: &Client, transactional: bool, prefix: &str, bytes: u32) {
    let sql = format!("SELECT pg_logical_emit_message({transactional}, {prefix}, repeat('x', {bytes}))");
    stranger.batch_execute(&sql).await.unwrap();
}

fn assert_bounded(daemon: &Daemon) {
    assert_peak(daemon.peak_memory().expect("it runs"), MEMORY);
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_megabytes_pass_unread_at_the_start_and_in_the_stream() {
    let world = World::new().await;
    world.fill(310, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let stranger = stranger(&world.landing, "landing").await;
    emit(&stranger, false, "'app'", 400_000_000).await;
    let mut daemon = bridge.daemon().await;
    caught_up_and_equal(&world, &mut daemon).await;
    // In a transaction, beside rows; and with a long prefix, a prefix like leadbridge's, and leadbridge's own.
    let lead = "INSERT INTO landing_leads (name, phone) VALUES ('beside', '1')";
    let beside = format!(
        "BEGIN; {lead}; SELECT pg_logical_emit_message(true, 'app', repeat('x', 150000000)); {lead}; COMMIT"
    );
    landing(&world, &beside).await;
    emit(&stranger, false, "repeat('p', 20000000)", 1).await;
    emit(&stranger, true, "'leadbridge.'", 3_000_000).await;
    emit(&stranger, false, "'leadbridge'", 30_000_000).await;
    landing(&world, lead).await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_bounded(&daemon);
    assert_eq!(daemon.log().matches("a logical message of another program").count(), 1);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_megabytes_pass_unread_on_traffic_after_the_switch() {
    let world = World::new().await;
    world.fill(311, 10).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    let stranger = stranger(&world.traffic, "traffic").await;
    emit(&stranger, false, "'app'", 400_000_000).await;
    traffic(
        &world,
        "BEGIN; UPDATE traffic_leads SET name = 'beside';
         SELECT pg_logical_emit_message(true, 'app', repeat('x', 100000000)); COMMIT",
    )
    .await;
    carried(&world, &mut daemon).await;
    assert!(holds(&world.landing().await, "bool_and(name = 'beside') FROM landing_leads").await);
    assert_bounded(&daemon);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_longer_on_its_way_than_the_server_is_patient_passes_over_tls() {
    let world = World::unmigrated_with(&[("wal_sender_timeout", "2s")], &[]).await;
    world.migrate(&MigrateOptions::default()).await;
    world.fill(312, 10).await;
    let proxy = Proxy::to(world.landing.port()).await;
    let plain = proxy.url(&world.landing_url(), world.landing.port());
    let dir = tempfile::tempdir().unwrap();
    encrypt(&world.landing, dir.path()).await;
    let bridge = Bridge::between(&plain.replace("sslmode=disable", "sslmode=require"), &world.traffic_url());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    // The proxy cannot read the names of encrypted connections.
    proxy.inject(Target::Every, Fault::Throttle(4_000_000));
    let stranger = stranger(&world.landing, "landing").await;
    emit(&stranger, false, "'app'", 30_000_000).await;
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert_bounded(&daemon);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_beyond_the_promise_is_refused_by_name_and_never_held() {
    let world = World::new().await;
    world.fill(313, 10).await;
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    daemon.caught_up(&world).await;
    let row = "INSERT INTO landing_leads (name, phone, metadata)
               VALUES ('long', '1', jsonb_build_object('answers', repeat('x', 150000000)))";
    landing(&world, row).await;
    ends_refused(&mut daemon, &["a row of 143 MB", "leadbridge takes rows of 64 MB", "leadbridge resync"])
        .await;
    assert_peak(daemon.last_peak_memory(), MEMORY);
    let said = bridge.run(&["status"]).await;
    assert!(said.code == 2 && said.out.contains("a row of 143 MB"), "{}", said.out);
}

/// Run by `make test-large`.
mod large {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "takes minutes: make test-large"]
    async fn a_message_that_postgresql_15_cannot_decode_is_named_once_with_the_way_past_it() {
        let world = World::new().await;
        world.fill(314, 10).await;
        let bridge = Bridge::new(&world);
        let mut daemon = bridge.daemon().await;
        daemon.caught_up(&world).await;
        let stranger = stranger(&world.landing, "landing").await;
        let emitted = "SELECT pg_logical_emit_message(false, 'app', repeat('x', 1073741000))";
        if stranger.batch_execute(emitted).await.is_err() {
            // From PostgreSQL 16 on the message itself is refused.
            landing(&world, "UPDATE landing_leads SET click_count = 1").await;
            caught_up_and_equal(&world, &mut daemon).await;
            return daemon.terminate().await;
        }
        ends_refused(&mut daemon, &["pg_logical_emit_message", "leadbridge resync"]).await;
        assert_eq!(bridge.run(&["resync", "--yes"]).await.code, 0);
        bridge.catch_up().await;
    }
}
