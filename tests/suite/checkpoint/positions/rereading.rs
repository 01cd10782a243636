//! Positions never fall, although a server that decodes old WAL again sends the decoding position in its keepalives.

use std::time::Duration;

use leadbridge::checkpoint::{Carried, Ledger, LocalStore, Reverse};
use leadbridge::error::Error;
use leadbridge::migrate::MigrateOptions;
use leadbridge::model::change::Position;
use leadbridge::model::lsn::Lsn;
use leadbridge::model::timestamp::Timestamp;
use tokio_postgres::Client;

use crate::testkit::{
    Bridge, Fault, Positions, Proxy, Target, World, assert_equal, holds, landing, one, until, until_true,
};

const APPLIED: &str = "SELECT applied_lsn::text FROM leadbridge.checkpoint";

/// The server asks for an answer after a silence of half of `wal_sender_timeout`.
const TIMEOUT: &str = "1500ms";
const ASKS: &str = "750ms";
/// Later than half of the timeout, and earlier than the whole timeout.
const LATE: Duration = Duration::from_millis(1100);

#[tokio::test(flavor = "multi_thread")]
async fn keepalives_of_a_server_that_decodes_old_wal_again_lower_no_position() {
    let world = World::unmigrated_with(&[("wal_sender_timeout", TIMEOUT)], &[]).await;
    world.migrate(&MigrateOptions::default()).await;
    world.fill(30, 20).await;
    let proxy = Proxy::to(world.landing.port()).await;
    let bridge =
        Bridge::between(&proxy.url(&world.landing_url(), world.landing.port()), &world.traffic_url())
            .configured("[stream]\ncheckpoint_interval = \"50ms\"");
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    // While this transaction is open, a start decodes everything from here on again.
    let old = world.landing().await;
    old.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let noise = "CREATE TABLE noise (n bigint); INSERT INTO noise SELECT * FROM generate_series(1, 3000000)";
    landing(&world, noise).await;
    daemon.caught_up(&world).await;

    let traffic = world.traffic().await;
    let applied = async || one::<String>(&traffic, APPLIED).await.parse::<Lsn>().unwrap();
    let mut highest = applied().await;
    let server = world.landing().await;
    let stream = "FROM pg_stat_replication WHERE application_name = 'leadbridge stream' AND sent_lsn";
    let rereading = format!("{stream} <");
    until_true("the server decodes old WAL again", async || {
        // A stream that was away at the last cut, or has passed the old WAL unseen, is cut again. A stream that has
        // just begun shows the slot's position until it has decoded a record.
        let passed = format!("{stream} >= '{highest}' AND clock_timestamp() - backend_start > '3 s'");
        if holds(&server, &format!("EXISTS (SELECT {passed})")).await {
            proxy.inject(Target::Named("stream"), Fault::Cut);
        }
        holds(&server, &format!("EXISTS (SELECT {rereading} '{highest}')")).await
    })
    .await;
    landing(&world, "INSERT INTO landing_leads (name, phone) VALUES ('after the noise', '1')").await;
    // From now on status updates reach the server late, so the server asks for an update while decoding.
    proxy.inject(Target::Named("stream"), Fault::Delay(LATE));
    let mut asked = false;
    until("the lead that was written meanwhile has arrived", async || {
        let now = applied().await;
        assert!(now >= highest, "Traffic's position fell from {highest} to {now}");
        highest = now;
        let silent =
            format!("EXISTS (SELECT {rereading} '{now}' AND clock_timestamp() - reply_time > '{ASKS}')");
        asked |= holds(&server, &silent).await;
        if asked {
            proxy.heal();
        }
        holds(&traffic, "count(*) = 1 FROM traffic_leads WHERE name = 'after the noise'").await.then_some(())
    })
    .await;
    assert!(asked, "the server was not seen to ask while it decoded old WAL");
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
