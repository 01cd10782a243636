//! Positions never fall, although a server that decodes old WAL again sends the decoding position in its keepalives.

use leadbridge::checkpoint::{Carried, Ledger, LocalStore, Reverse};
use leadbridge::error::Error;
use leadbridge::migrate::MigrateOptions;
use leadbridge::model::change::Position;
use leadbridge::model::lsn::Lsn;
use leadbridge::model::timestamp::Timestamp;
use tokio_postgres::Client;

use crate::testkit::{
    Bridge, Fault, Positions, Proxy, Target, World, assert_equal, holds, landing, one, until_true,
};

const APPLIED: &str = "SELECT applied_lsn::text FROM leadbridge.checkpoint";

/// The server asks for an answer after a silence of half of `wal_sender_timeout`.
const TIMEOUT: &str = "1500ms";

#[tokio::test(flavor = "multi_thread")]
async fn keepalives_of_a_server_that_decodes_old_wal_again_lower_no_position() {
    let world = World::unmigrated_with(&[("wal_sender_timeout", TIMEOUT)], &[]).await;
    world.migrate(&MigrateOptions::default()).await;
    world.fill(30, 20).await;
    let proxy = Proxy::to(world.landing.port()).await;
    let bridge =
        Bridge::between(&proxy.url(&world.landing_url(), world.landing.port()), &world.traffic_url())
            .configured("[stream]\ncheckpoint_interval = \"50ms\"");
    let mut daemon = bridge.daemon_with(&[("LEADBRIDGE_LOG", "info,leadbridge=debug")]).await;
    daemon.streaming().await;
    // While this transaction is open, a start decodes everything from here on again.
    let old = world.landing().await;
    old.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let noise = "CREATE TABLE noise (n bigint); INSERT INTO noise SELECT * FROM generate_series(1, 1000000)";
    landing(&world, noise).await;
    daemon.caught_up(&world).await;

    let (traffic, server) = (world.traffic().await, world.landing().await);
    let mut highest = Lsn(0);
    let mut does_not_fall = async || {
        let now = one::<String>(&traffic, APPLIED).await.parse::<Lsn>().unwrap();
        assert!(now >= highest, "Traffic's position fell from {highest} to {now}");
        highest = now;
        now
    };
    proxy.inject(Target::Named("stream"), Fault::Cut);
    until_true("a keepalive before the applied position has reached the daemon", async || {
        let now = does_not_fall().await;
        // A stream that has passed the old WAL without a keepalive is cut again.
        let passed = format!(
            "EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'leadbridge stream' \
                     AND sent_lsn >= '{now}' AND clock_timestamp() - backend_start > '3 s')"
        );
        if holds(&server, &passed).await {
            proxy.inject(Target::Named("stream"), Fault::Cut);
        }
        daemon.log().contains("the server decodes old WAL again")
    })
    .await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('after the noise', '1')").await;
    until_true("the lead that was written meanwhile has arrived", async || {
        does_not_fall().await;
        holds(&traffic, "count(*) = 1 FROM traffic_leads WHERE name = 'after the noise'").await
    })
    .await;
    daemon.caught_up(&world).await;
    daemon.terminate().await;
    Positions::read(&world, &bridge).await.assert_ordered();
    bridge.catch_up().await;
    assert_equal(&world).await;
    old.batch_execute("ROLLBACK").await.unwrap();
}

/// Whether Traffic took the position.
async fn recorded(client: &Client, write: impl Future<Output = Result<(), Error>>) -> bool {
    client.batch_execute("BEGIN; SET LOCAL leadbridge.opened = on").await.unwrap();
    let written = write.await;
    client.batch_execute(if written.is_ok() { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
    written.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_takes_no_position_of_either_direction_that_lies_before_the_recorded_one() {
    let world = World::new().await;
    world.fill(31, 5).await;
    let bridge = Bridge::new(&world);
    bridge.catch_up().await;
    let (identity, Lsn(at)) = LocalStore::open(&bridge.state_dir()).unwrap().read().unwrap().unwrap();
    let traffic = world.traffic().await;
    let ledger = Ledger::new(&world.names, identity, 1);
    ledger.claim(&traffic).await.unwrap();
    let recording = ledger.prepare(&traffic).await.unwrap();
    let position = |lsn| Position { lsn: Lsn(lsn), ..Position::default() };
    for (lsn, taken) in [(at - 1, false), (at, true), (at + 8, true), (at, false)] {
        let write = ledger.record(&traffic, &recording, position(lsn), &[]);
        assert_eq!(recorded(&traffic, write).await, taken, "{lsn} after {at}");
    }
    assert_eq!(one::<String>(&traffic, APPLIED).await, Lsn(at + 8).to_string());

    let switched = "UPDATE leadbridge.checkpoint SET state = 'switched';
        INSERT INTO leadbridge.reverse (slot, cutover_id, reverse_slot, traffic_system_id, applied_lsn, switch_xid)
        VALUES ('leadbridge', gen_random_uuid(), 'leadbridge_reverse', '7', '0/64', '700')";
    traffic.batch_execute(switched).await.unwrap();
    let reverse = Reverse::read(&traffic, &world.names).await.unwrap().unwrap();
    // Each case carries another position of Landing, which is recorded only together with Traffic's own position.
    for (lsn, landing, taken) in
        [(99, at + 16, false), (100, at + 16, true), (150, at, true), (100, at + 24, false)]
    {
        let (landing, landing_time) = (Lsn(landing), Timestamp::default());
        let carried = Carried { at: position(lsn), landing, landing_time, markers: &[] };
        let write = ledger.record_carried(&traffic, &reverse, carried);
        assert_eq!(recorded(&traffic, write).await, taken, "{lsn}");
    }
    assert_eq!(one::<String>(&traffic, APPLIED).await, Lsn(at + 16).to_string());
    let carried: String = one(&traffic, "SELECT applied_lsn::text FROM leadbridge.reverse").await;
    assert_eq!(carried, Lsn(150).to_string());
}
