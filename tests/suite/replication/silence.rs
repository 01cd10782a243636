//! Half-open connections.

use crate::testkit::{Bridge, Fault, Proxy, Target, World, caught_up_and_equal};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_dies_without_a_word_is_noticed_and_begun_again() {
    let world = World::with_settings(&[("wal_sender_timeout", "2s")], &[]).await;
    world.fill(70, 50).await;
    let proxy = Proxy::to(world.landing.port()).await;
    let landing = proxy.url(&world.landing_url(), world.landing.port());
    let bridge = Bridge::between(&landing, &world.traffic_url());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    proxy.inject(Target::Every, Fault::HalfOpen);
    world.fill(71, 50).await;
    caught_up_and_equal(&world, &mut daemon).await;
    // The daemon notices either the unused slot or the silent server first.
    let log = daemon.log();
    assert!(log.contains("no longer serves the stream") || log.contains("half-open connection"), "{log}");
    daemon.terminate().await;
}
