//! Both kinds of connection to a server: login, pinning, finding and losing the server work in the same way.

use leadbridge::migrate::MigrateOptions;
use leadbridge::model::side::Side;
use leadbridge::postgres::Endpoint;
use leadbridge::throwaway::Cluster;

use crate::testkit::{
    Bridge, Fault, Proxy, Target, World, caught_up_and_equal, landing, one, standby_of, template, traffic,
    until_holds,
};

fn endpoint(side: Side, url: &str) -> Endpoint {
    Endpoint::parse(side, &url.into()).unwrap()
}

#[tokio::test]
async fn a_password_is_prepared_as_libpq_does_on_both_connections() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let admin = cluster.connect("postgres").await.unwrap();
    // Compatibility forms, a no-break space, a soft hyphen, and a password that must not be prepared at all.
    let passwords = ["Школа№1", "a\u{a0}b", "ﬁne\u{ad}Ⅸ", "tab\tis raw"];
    for (number, password) in passwords.iter().enumerate() {
        let role = format!("role_{number}");
        let create = format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'");
        admin.batch_execute(&create).await.unwrap();
        let escaped: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let endpoint = endpoint(Side::Landing, &cluster.url_as(&role, &escaped, "postgres"));
        endpoint.connect("test").await.unwrap();
        endpoint.replicate().await.unwrap();
    }
}

#[tokio::test]
async fn no_time_limit_of_a_role_is_left_on_a_replication_connection() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let admin = cluster.connect("postgres").await.unwrap();
    let limits =
        "name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout', 'transaction_timeout',
        'idle_in_transaction_session_timeout')";
    let limit_all = format!(
        "DO $$ DECLARE setting name; BEGIN
             FOR setting IN SELECT name FROM pg_settings WHERE {limits} LOOP
                 EXECUTE format('ALTER ROLE postgres SET %I = ''7s''', setting);
             END LOOP; END $$"
    );
    admin.batch_execute(&limit_all).await.unwrap();
    let mut session = endpoint(Side::Landing, &cluster.url("postgres")).replicate().await.unwrap();
    let sql = format!("SELECT name FROM pg_settings WHERE {limits} AND setting <> '0'");
    assert_eq!(session.query("asking", &sql).await.unwrap(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_time_limits_streams_for_longer_than_they_last() {
    let world = World::new().await;
    world.fill(300, 10).await;
    let admin = world.landing().await;
    // PostgreSQL 17 has a limit for transactions, too.
    let limit = "DO $$ DECLARE setting name; BEGIN
        FOR setting IN SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
            'idle_session_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout') LOOP
            EXECUTE format('ALTER ROLE postgres SET %I = ''1s''', setting);
        END LOOP; END $$";
    admin.batch_execute(limit).await.unwrap();
    let bridge = Bridge::new(&world);
    let mut daemon = bridge.daemon().await;
    let streams_on =
        "count(*) = 1 FROM pg_stat_replication WHERE now() - backend_start > interval '4 seconds'";
    until_holds(&admin, streams_on).await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_longer_on_its_way_than_the_server_is_patient_arrives() {
    let world = World::unmigrated_with(&[("wal_sender_timeout", "2s")], &[]).await;
    world.migrate(&MigrateOptions::default()).await;
    world.fill(301, 10).await;
    let proxy = Proxy::to(world.landing.port()).await;
    let bridge =
        Bridge::between(&proxy.url(&world.landing_url(), world.landing.port()), &world.traffic_url());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    proxy.inject(Target::Named("stream"), Fault::Throttle(1_000_000));
    // Small rows, directly followed by a row of eight incompressible megabytes.
    landing(
        &world,
        "UPDATE landing_leads SET click_count = 1;
         INSERT INTO landing_leads (name, phone, metadata) SELECT 'long', '1', jsonb_build_object('long',
             (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 250000) AS n))",
    )
    .await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_silently_while_apply_waits_and_a_message_is_on_its_way_are_given_up() {
    let world = World::new().await;
    world.fill(302, 20).await;
    let proxies = (Proxy::to(world.landing.port()).await, Proxy::to(world.traffic.port()).await);
    let bridge = Bridge::between(
        &proxies.0.url(&world.landing_url(), world.landing.port()),
        &proxies.1.url(&world.traffic_url(), world.traffic.port()),
    );
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    let holder = world.traffic().await;
    holder.batch_execute("BEGIN; SELECT FROM traffic_leads FOR UPDATE").await.unwrap();
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    let waits = "count(*) > 0 FROM pg_stat_activity WHERE application_name = 'leadbridge apply' AND wait_event_type = 'Lock'";
    until_holds(&world.traffic().await, waits).await;
    // The server has sent the whole row, and most of the row is still on its way.
    proxies.0.inject(Target::Named("stream"), Fault::Throttle(100_000));
    landing(
        &world,
        "UPDATE landing_leads SET click_count = 2;
         INSERT INTO landing_leads (name, phone, metadata) SELECT 'long', '1', jsonb_build_object('long',
             (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 60000) AS n))",
    )
    .await;
    let client = world.landing().await;
    let goal: String = one(&client, "SELECT pg_current_wal_flush_lsn()::text").await;
    until_holds(&client, &format!("count(*) > 0 FROM pg_stat_replication WHERE sent_lsn >= '{goal}'")).await;
    assert_eq!(proxies.0.inject(Target::Named("stream"), Fault::HalfOpen), 1);
    assert_eq!(proxies.1.inject(Target::Named("apply"), Fault::HalfOpen), 1);
    proxies.0.heal();
    holder.batch_execute("ROLLBACK").await.unwrap();
    daemon.logs("half-open connection").await;
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_dies_silently_is_noticed_also_where_its_server_waits_for_ever() {
    let world = World::unmigrated_with(&[("wal_sender_timeout", "0")], &[]).await;
    world.migrate(&MigrateOptions::default()).await;
    world.fill(303, 20).await;
    let proxy = Proxy::to(world.landing.port()).await;
    let bridge =
        Bridge::between(&proxy.url(&world.landing_url(), world.landing.port()), &world.traffic_url());
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    assert_eq!(proxy.inject(Target::Named("stream"), Fault::HalfOpen), 1);
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    caught_up_and_equal(&world, &mut daemon).await;
    assert!(daemon.log().contains("half-open connection"), "{}", daemon.log());
    daemon.terminate().await;
}

/// Accepts connections and sends nothing; counts the connections.
async fn silent_listener() -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            held.push(stream);
        }
    });
    (port, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_place_has_its_own_time_limit_and_later_connections_begin_with_the_one_that_answered() {
    let cluster = Cluster::start(&template().await, &[]).await.unwrap();
    let (silent, taken) = silent_listener().await;
    let (port, password) = (cluster.port(), cluster.password());
    let url = format!(
        "postgresql://postgres:{password}@127.0.0.1:{silent},127.0.0.1:{port}/postgres?connect_timeout=2&sslmode=disable"
    );
    let endpoint = endpoint(Side::Landing, &url);
    let session = endpoint.connect("control").await.unwrap();
    let stream = endpoint.replicate().await.unwrap();
    assert_eq!((session.backend().place.host.port, stream.backend().place.host.port), (port, port));
    assert!(stream.backend().is_beside(session.backend()));
    assert_eq!(taken.load(std::sync::atomic::Ordering::Relaxed), 1, "the silent one was tried once");
    endpoint.begin_with_first_host();
    endpoint.connect("control").await.unwrap();
    assert_eq!(taken.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_asks_the_server_that_works_however_many_hosts_a_url_names() {
    let mut world = World::new().await;
    world.fill(304, 20).await;
    // The standby is named first, and is down while the daemon connects.
    let standby = standby_of(&mut world.traffic, "traffic", &[]).await;
    let proxy = Proxy::to(standby.port()).await;
    proxy.inject(Target::Every, Fault::Refuse);
    let direct = format!("127.0.0.1:{}/", world.traffic.port());
    let first = proxy.url(&direct, world.traffic.port());
    let both = format!("{},{direct}", first.trim_end_matches('/'));
    let bridge = Bridge::between(&world.landing_url(), &world.traffic_url().replace(&direct, &both));
    let mut daemon = bridge.daemon().await;
    daemon.streaming().await;
    proxy.heal();
    let client = world.traffic().await;
    let end_monitor = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leadbridge monitor'";
    traffic(&world, end_monitor).await;
    let holder = world.traffic().await;
    holder.batch_execute("BEGIN; SELECT FROM traffic_leads FOR UPDATE").await.unwrap();
    landing(&world, "UPDATE landing_leads SET click_count = 1").await;
    let waits = "count(*) > 0 FROM pg_stat_activity WHERE application_name = 'leadbridge apply'
        AND wait_event_type = 'Lock' AND now() - query_start > interval '14 seconds'";
    until_holds(&client, waits).await;
    assert!(!daemon.log().contains("retry_in"), "{}", daemon.log());
    holder.batch_execute("ROLLBACK").await.unwrap();
    caught_up_and_equal(&world, &mut daemon).await;
    daemon.terminate().await;
}
