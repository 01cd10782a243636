//! Cut connections and restarted servers: reverse replication goes on by itself, and ends exact.

use std::time::Duration;

use leadbridge::throwaway::Shutdown;
use tokio_util::sync::CancellationToken;

use super::exact::assert_back;
use super::switch::{carried, switch};
use crate::testkit::{
    Bridge, Daemon, Fault, Positions, Proxy, Target, World, holds, one, traffic, until_holds, until_true,
};

const CHANGES: &str = "
    UPDATE traffic_leads SET click_count = coalesce(click_count, 0) + 1;
    INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 's', now() FROM traffic_leads LIMIT 20;
    WITH born AS (INSERT INTO traffic_leads (name, phone, landing_source)
        VALUES ('b', '1', 'twland') RETURNING id)
    INSERT INTO traffic_lead_journey (lead_id, stage, created_at) SELECT id, 'born', now() FROM born;
    DELETE FROM traffic_lead_journey WHERE id IN (SELECT id FROM traffic_lead_journey ORDER BY id LIMIT 5)";

struct Net {
    world: World,
    landing: Proxy,
    traffic: Proxy,
    bridge: Bridge,
}

/// Both servers behind proxies, switched, and a daemon in reverse replication.
async fn carrying(seed: u64) -> (Net, Daemon) {
    let world = World::new().await;
    world.fill(seed, 40).await;
    let landing = Proxy::to(world.landing.port()).await;
    let traffic = Proxy::to(world.traffic.port()).await;
    let bridge = Bridge::between(
        &landing.url(&world.landing_url(), world.landing.port()),
        &traffic.url(&world.traffic_url(), world.traffic.port()),
    )
    .configured("[stream]\nbatch_rows = 30");
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    (Net { world, landing, traffic, bridge }, daemon)
}

async fn exact(net: Net, mut daemon: Daemon) {
    traffic(&net.world, CHANGES).await;
    carried(&net.world, &mut daemon).await;
    let status = daemon.status().await;
    assert!(status["last_error"].is_null(), "{status}");
    daemon.terminate().await;
    Positions::read(&net.world, &net.bridge).await.assert_ordered();
    assert_back(&net.world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_of_reverse_replication_may_be_cut() {
    let (net, mut daemon) = carrying(260).await;
    for (proxy, name) in [
        (&net.traffic, "stream"),
        (&net.traffic, "apply"),
        (&net.landing, "control"),
        (&net.landing, "slot"),
        (&net.landing, "monitor"),
        (&net.traffic, "monitor"),
    ] {
        traffic(&net.world, CHANGES).await;
        until_true(name, async || proxy.inject(Target::Named(name), Fault::Cut) > 0).await;
        traffic(&net.world, CHANGES).await;
        carried(&net.world, &mut daemon).await;
        assert_back(&net.world, &[]).await;
    }
    exact(net, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_on_landing_whose_answer_is_lost_is_carried_again_and_writes_nothing_twice() {
    let (net, mut daemon) = carrying(261).await;
    net.landing.inject(Target::Named("control"), Fault::CutAfterCommit);
    traffic(&net.world, CHANGES).await;
    carried(&net.world, &mut daemon).await;
    assert!(net.landing.commits_cut() > 0);
    net.landing.heal();
    exact(net, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_without_a_word_are_given_up() {
    let (net, mut daemon) = carrying(262).await;
    for (proxy, name) in [(&net.landing, "control"), (&net.traffic, "apply")] {
        proxy.inject(Target::Named(name), Fault::HalfOpen);
        traffic(&net.world, CHANGES).await;
        carried(&net.world, &mut daemon).await;
        proxy.heal();
        proxy.forget_half_open();
    }
    exact(net, daemon).await;
}

/// Limit for Traffic's unreplicated writes, in bytes of WAL: some transactions. An unbounded load outruns a daemon on
/// a busy machine, and the awaited state would never come.
const AHEAD: u64 = 1 << 20;

/// Writes to Traffic while `happens` runs, within the limit.
async fn under_load(world: &World, happens: impl Future<Output = ()>) {
    let (stop, url) = (CancellationToken::new(), world.traffic_url());
    let stopped = stop.clone();
    let room = format!(
        "pg_current_wal_insert_lsn() - confirmed_flush_lsn < {AHEAD}
         FROM pg_replication_slots WHERE slot_name = 'leadbridge_reverse'"
    );
    let writing = tokio::spawn(async move {
        let client = leadbridge::throwaway::connect(&url).await.unwrap();
        while !stopped.is_cancelled() {
            if holds(&client, &room).await {
                client.batch_execute(CHANGES).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    happens.await;
    stop.cancel();
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn either_server_may_be_restarted_in_any_way_while_changes_flow_back() {
    let mut world = World::new().await;
    world.fill(263, 40).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 30");
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    for how in [Shutdown::Fast, Shutdown::Kill] {
        traffic(&world, CHANGES).await;
        world.landing.restart(how).await.unwrap();
        traffic(&world, CHANGES).await;
        carried(&world, &mut daemon).await;
        world.traffic.restart(how).await.unwrap();
        traffic(&world, CHANGES).await;
        carried(&world, &mut daemon).await;
        assert_back(&world, &[]).await;
    }
    daemon.terminate().await;
    Positions::read(&world, &bridge).await.assert_ordered();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_under_load_it_ends_exact_and_a_second_daemon_takes_over() {
    let world = World::new().await;
    world.fill(264, 40).await;
    let bridge = Bridge::new(&world).configured("[stream]\nbatch_rows = 30");
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let other = Bridge::new(&world).configured("[stream]\nbatch_rows = 30");
    let story = async {
        let mut second = other.daemon().await;
        carried(&world, &mut second).await;
        for _ in 0..4 {
            let mut first = bridge.daemon().await;
            first.until("it stands by", |status| status["state"] == "standby").await;
            second.kill().await;
            carried(&world, &mut first).await;
            second = other.daemon().await;
            second.until("it stands by", |status| status["state"] == "standby").await;
            first.kill().await;
            carried(&world, &mut second).await;
        }
        second.terminate().await;
    };
    under_load(&world, story).await;
    bridge.catch_up().await;
    assert_back(&world, &[]).await;
    let client = world.traffic().await;
    until_holds(&client, "NOT bool_or(active) FROM pg_replication_slots").await;
    assert!(holds(&client, "count(*) = 0 FROM leadbridge.reverse_quarantine").await);
    let born: i64 = one(&world.landing().await, "SELECT count(*) FROM landing_leads WHERE name = 'b'").await;
    assert!(born > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_traffic_is_left_alone() {
    let world = World::new().await;
    world.fill(265, 10).await;
    let bridge = Bridge::new(&world).configured("[stream]\ncheckpoint_interval = \"1h\"");
    bridge.catch_up().await;
    switch(&world, &bridge).await;
    let mut daemon = bridge.daemon().await;
    carried(&world, &mut daemon).await;
    // Longer than the permitted silence of a connection with a waiting caller.
    let idle = "count(*) = 1 FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
        AND state = 'idle' AND now() - state_change > interval '15 seconds'";
    until_holds(&world.traffic().await, idle).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    traffic(&world, CHANGES).await;
    carried(&world, &mut daemon).await;
    daemon.terminate().await;
    assert_back(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_traffic_that_is_cut_at_one_position_again_and_again_points_to_its_servers_log() {
    let (net, mut daemon) = carrying(266).await;
    // No row is written meanwhile, but now and then the server's own records move the position.
    while !daemon.log().contains("cut 3 times in a row") {
        daemon.until("it carries back", |status| status["state"] == "switched").await;
        let heard = daemon.log().matches("retry_in").count();
        until_true("the stream is cut", async || net.traffic.inject(Target::Named("stream"), Fault::Cut) > 0)
            .await;
        until_true("the cut is heard of", async || daemon.log().matches("retry_in").count() > heard).await;
    }
    assert!(daemon.log().contains("log of the Traffic DB's server"), "{}", daemon.log());
    traffic(&net.world, CHANGES).await;
    carried(&net.world, &mut daemon).await;
    daemon.until("nothing is wrong any more", |status| status["last_error"].is_null()).await;
    exact(net, daemon).await;
}
